// node-redis against one member: `node node_redis.mjs PORT RESP`. Every test begins with an empty database.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { createClient, createClientPool, WatchError } from "redis";

const [port, RESP] = process.argv.slice(2).map(Number);
const options = { url: `redis://127.0.0.1:${port}`, RESP };
const client = createClient({ ...options, name: "node" });

// Without a listener an error of the connection ends the process.
client.on("error", (error) => console.error(error));
before(() => client.connect());
beforeEach(() => client.flushAll());
after(() => client.close());

async function collect(iterator) {
  const found = [];
  for await (const batch of iterator) found.push(...batch);
  return found;
}

test("the connection", async () => {
  const info = await client.clientInfo();
  assert.deepEqual([info.name, info.libName, info.resp], ["node", "node-redis", RESP]);
  assert.equal(await client.ping(), "PONG");
  assert.ok(["master", "slave"].includes((await client.role()).role));
  assert.deepEqual({ ...(await client.configGet("port")) }, { port: String(port) });
  assert.equal((await client.commandInfo(["get"]))[0].arity, 2);
});

test("strings", async () => {
  assert.equal(await client.set("a", "1"), "OK");
  assert.equal(await client.set("a", "2", { condition: "NX" }), null);
  assert.equal(await client.set("a", "3", { GET: true, expiration: { type: "EX", value: 100 } }), "1");
  assert.ok((await client.ttl("a")) > 90);
  assert.equal(await client.incrBy("a", 4), 7);
  assert.equal(await client.incrByFloat("a", 0.5), "7.5");
  assert.deepEqual(await client.mGet(["a", "missing"]), ["7.5", null]);
  assert.equal(await client.getDel("a"), "7.5");
  assert.equal(await client.exists("a"), 0);
});

test("bytes are not touched", async () => {
  const everything = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  await client.set(everything, everything);
  assert.deepEqual(await client.withTypeMapping({ 36: Buffer }).get(everything), everything);
});

test("hashes", async () => {
  assert.equal(await client.hSet("h", { field: "value", number: 1 }), 2);
  assert.deepEqual({ ...(await client.hGetAll("h")) }, { field: "value", number: "1" });
  assert.equal(await client.hIncrByFloat("h", "number", 0.25), "1.25");
  assert.deepEqual(await client.hmGet("h", ["field", "missing"]), ["value", null]);
  assert.equal((await client.hRandFieldCountWithValues("h", -5)).length, 5);
  assert.deepEqual((await collect(client.hScanIterator("h"))).map(({ field }) => field).sort(), ["field", "number"]);
});

test("lists", async () => {
  assert.equal(await client.rPush("l", ["a", "b", "c"]), 3);
  assert.equal(await client.lMove("l", "other", "LEFT", "RIGHT"), "a");
  assert.deepEqual(await client.lRange("l", 0, -1), ["b", "c"]);
  assert.equal(await client.lPos("l", "c"), 1);
  assert.deepEqual(await client.lmPop(["none", "l"], "RIGHT", { COUNT: 5 }), ["l", ["c", "b"]]);
  assert.equal(await client.lPop("l"), null);
});

test("sets", async () => {
  assert.equal(await client.sAdd("s", ["a", "b", "c"]), 3);
  await client.sAdd("t", ["b", "c", "d"]);
  assert.deepEqual((await client.sInter(["s", "t"])).sort(), ["b", "c"]);
  assert.deepEqual(await client.smIsMember("s", ["a", "d"]), [1, 0]);
  assert.equal(await client.sInterCard(["s", "t"]), 2);
  assert.deepEqual((await collect(client.sScanIterator("s"))).sort(), ["a", "b", "c"]);
});

test("sorted sets", async () => {
  const members = [{ score: -Infinity, value: "least" }, { score: 1.5, value: "a" }, { score: 2, value: "b" }];
  assert.equal(await client.zAdd("z", members), 3);
  assert.deepEqual(await client.zRangeWithScores("z", 0, -1), [
    { value: "least", score: -Infinity },
    { value: "a", score: 1.5 },
    { value: "b", score: 2 },
  ]);
  assert.equal(await client.zIncrBy("z", 1, "a"), 2.5);
  assert.deepEqual(await client.zmScore("z", ["a", "missing"]), [2.5, null]);
  assert.equal(await client.zRank("z", "missing"), null);
  assert.deepEqual((await collect(client.zScanIterator("z"))).map(({ value }) => value).sort(), ["a", "b", "least"]);
  assert.deepEqual(await client.zPopMax("z"), { value: "a", score: 2.5 });
  assert.deepEqual(await client.zmPop(["z"], "MAX"), { key: "z", members: [{ value: "b", score: 2 }] });
});

test("bitmaps", async () => {
  assert.equal(await client.setBit("bits", 7, 1), 0);
  assert.equal(await client.getBit("bits", 7), 1);
  assert.equal(await client.bitCount("bits"), 1);
  assert.equal(await client.bitPos("bits", 1), 7);
  assert.deepEqual(await client.bitField("bits", [{ operation: "GET", encoding: "u8", offset: 0 }]), [1]);
});

test("HyperLogLog", async () => {
  const words = Array.from({ length: 200 }, (_, number) => `word ${number}`);
  assert.equal(await client.pfAdd("p", words), 1);
  const estimate = await client.pfCount("p");
  assert.ok(190 < estimate && estimate < 210, String(estimate));
  assert.equal(await client.pfMerge("merged", ["p"]), "OK");
  assert.equal(await client.pfCount("merged"), estimate);
});

test("places", async () => {
  const cities = [
    { longitude: 13.361389, latitude: 38.115556, member: "Palermo" },
    { longitude: 15.087269, latitude: 37.502669, member: "Catania" },
  ];
  assert.equal(await client.geoAdd("g", cities), 2);
  assert.ok(Math.abs((await client.geoDist("g", "Palermo", "Catania", "km")) - 166.2742) < 0.001);
  const around = await client.geoSearchWith("g", cities[0], { radius: 100, unit: "km" }, ["WITHDIST"]);
  assert.deepEqual(around.map(({ member }) => member), ["Palermo"]);
});

test("walking over all keys", async () => {
  const keys = Array.from({ length: 500 }, (_, number) => `item:${number}`);
  await client.mSet(Object.fromEntries(keys.map((key) => [key, "x"])));
  await client.sAdd("words", "x");
  const found = await collect(client.scanIterator({ MATCH: "item:*", COUNT: 50 }));
  assert.deepEqual([...new Set(found)].sort(), keys.sort());
  assert.deepEqual(await collect(client.scanIterator({ TYPE: "set" })), ["words"]);
});

test("what a key costs", async () => {
  await client.set("n", "12345");
  assert.equal(await client.objectEncoding("n"), "int");
  assert.ok((await client.memoryUsage("n")) > 0);
  assert.equal(await client.memoryUsage("missing"), null);
});

test("commands of one turn go out together, and each gets its own reply", async () => {
  const replies = await Promise.all(Array.from({ length: 2000 }, () => client.incr("n")));
  assert.deepEqual(replies, Array.from({ length: 2000 }, (_, number) => number + 1));
  assert.deepEqual(await client.multi().set("a", "1").incr("a").execAsPipeline(), ["OK", 2]);
});

test("MULTI", async () => {
  assert.deepEqual(await client.multi().set("a", "1").incr("a").hSet("h", "f", "v").get("a").exec(), ["OK", 2, 1, "2"]);
  await assert.rejects(client.multi().set("a", "x").incr("a").set("b", "1").exec(), ({ errorIndexes }) => {
    assert.deepEqual(errorIndexes, [1]);
    return true;
  });
  assert.equal(await client.get("b"), "1");
});

test("WATCH", async () => {
  const pool = createClientPool(options, { minimum: 1, maximum: 4 });
  await pool.connect();
  const taken = pool.execute(async (own) => {
    await own.watch("a");
    await client.set("a", "theirs");
    return own.multi().set("a", "mine").exec();
  });
  await assert.rejects(taken, WatchError);
  const kept = pool.execute(async (own) => {
    await own.watch("a");
    return own.multi().append("a", "!").get("a").exec();
  });
  assert.deepEqual(await kept, [7, "theirs!"]);
  await pool.close();
});

test("errors are exceptions, and the connection goes on", async () => {
  await client.set("a", "x");
  await assert.rejects(client.lPush("a", "1"), /^Error: WRONGTYPE Operation against a key/);
  await assert.rejects(client.incr("a"), /ERR value is not an integer or out of range/);
  await assert.rejects(client.sendCommand(["NOSUCH", "x"]), /ERR unknown command 'NOSUCH', with args beginning with: 'x'/);
  await assert.rejects(client.eval("return 1"), /ERR unknown command 'EVAL'/);
  assert.equal(await client.get("a"), "x");
});
