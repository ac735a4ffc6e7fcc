// ioredis against one member: `node ioredis.mjs PORT RESP`. Every test begins with an empty database.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { Redis } from "ioredis";

const [port, protocol] = process.argv.slice(2).map(Number);
const options = { port, protocol, lazyConnect: true };
const client = new Redis({ ...options, connectionName: "node" });

before(() => client.connect());
beforeEach(() => client.flushall());
after(() => client.disconnect());

async function collect(stream) {
  const found = [];
  for await (const batch of stream) found.push(...batch);
  return found;
}

test("the connection", async () => {
  const info = await client.client("INFO");
  assert.match(info, / name=node /);
  assert.match(info, new RegExp(` resp=${protocol} .*lib-name=ioredis`));
});

test("every type", async () => {
  assert.equal(await client.set("a", "1", "EX", 100, "NX"), "OK");
  assert.equal(await client.hset("h", { field: "value", number: 1 }), 2);
  assert.deepEqual({ ...(await client.hgetall("h")) }, { field: "value", number: "1" });
  assert.equal(await client.rpush("l", "a", "b"), 2);
  assert.deepEqual(await client.lrange("l", 0, -1), ["a", "b"]);
  assert.equal(await client.sadd("s", "a", "b"), 2);
  assert.deepEqual((await client.smembers("s")).sort(), ["a", "b"]);
  assert.equal(await client.zadd("z", 1.5, "a", 2, "b"), 2);
  assert.deepEqual(await client.zrange("z", 0, -1, "WITHSCORES"), ["a", "1.5", "b", "2"]);
  assert.equal(await client.zscore("z", "a"), "1.5");
  assert.equal(await client.setbit("bits", 7, 1), 0);
  assert.equal(await client.bitcount("bits"), 1);
  assert.equal(await client.pfadd("p", "a", "b"), 1);
  assert.equal(await client.pfcount("p"), 2);
  assert.deepEqual(await client.getBuffer("bits"), Buffer.from([1]));
});

test("streams walk over keys, fields and members", async () => {
  const keys = Array.from({ length: 300 }, (_, number) => `item:${number}`);
  await client.mset(Object.fromEntries(keys.map((key) => [key, "x"])));
  await client.hset("h", "field", "value");
  await client.sadd("s", "a");
  await client.zadd("z", 1, "a");
  const found = await collect(client.scanStream({ match: "item:*", count: 50 }));
  assert.deepEqual([...new Set(found)].sort(), keys.sort());
  assert.deepEqual(await collect(client.hscanStream("h")), ["field", "value"]);
  assert.deepEqual(await collect(client.sscanStream("s")), ["a"]);
  assert.deepEqual(await collect(client.zscanStream("z")), ["a", "1"]);
});

test("pipelines", async () => {
  const replies = await client.pipeline().set("a", "x").incr("a").get("a").exec();
  assert.deepEqual([replies[0], replies[2]], [[null, "OK"], [null, "x"]]);
  assert.match(replies[1][0].message, /ERR value is not an integer/);
  const automatic = new Redis({ ...options, enableAutoPipelining: true });
  await Promise.all(Array.from({ length: 100 }, () => automatic.incr("n")));
  assert.equal(await automatic.get("n"), "100");
  automatic.disconnect();
});

test("MULTI, and WATCH", async () => {
  assert.deepEqual(await client.multi().set("a", "1").incr("a").exec(), [[null, "OK"], [null, 2]]);
  await client.multi({ pipeline: false });
  assert.equal(await client.set("a", "5"), "QUEUED");
  assert.deepEqual(await client.exec(), [[null, "OK"]]);
  const other = client.duplicate();
  await client.watch("a");
  await other.set("a", "theirs");
  assert.equal(await client.multi().set("a", "mine").exec(), null);
  assert.equal(await client.get("a"), "theirs");
  other.disconnect();
});

test("errors are exceptions", async () => {
  await client.set("a", "x");
  await assert.rejects(client.lpush("a", "1"), /WRONGTYPE Operation against a key/);
  await assert.rejects(client.call("NOSUCH"), /ERR unknown command 'NOSUCH'/);
  client.defineCommand("script", { numberOfKeys: 1, lua: "return 1" });
  await assert.rejects(client.script("a"), /ERR unknown command 'eval(sha)?'/);
  assert.equal(await client.get("a"), "x");
});
