// The clients' ways to find the leader: `node routing.mjs PORTS`, of members that redirect (client.routing).
//
// Redis Cluster is what members show that redirect; Redis Sentinel is answered by all.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Cluster, Redis } from "ioredis";
import { createCluster, createSentinel } from "redis";

const nodes = process.argv[2].split(",").map((port) => ({ host: "127.0.0.1", port: Number(port) }));
const rootNodes = nodes.map(({ port }) => ({ url: `redis://127.0.0.1:${port}` }));

for (const [RESP, useReplicas] of [[2, false], [3, true]])
  test(`node-redis: createCluster, RESP ${RESP}, reads from ${useReplicas ? "replicas" : "the leader"}`, async () => {
    const client = createCluster({ rootNodes, useReplicas, RESP });
    client.on("error", (error) => console.error(error));
    await client.connect();
    assert.equal(client.masters.length, 1);
    assert.equal(client.replicas.length, useReplicas ? 2 : 0);
    assert.equal(client.slots.filter((slot) => slot.master).length, 16384);
    for (let number = 0; number < 20; number++) {
      assert.equal(await client.set(`key:${number}`, String(number)), "OK");
      assert.equal(await client.get(`key:${number}`), String(number));
    }
    assert.equal(await client.mSet([["a", "1"], ["b", "2"]]), "OK");
    assert.deepEqual(await client.mGet(["a", "b"]), ["1", "2"]);
    assert.deepEqual(await client.multi().set("a", "1").incr("a").exec(), ["OK", 2]);
    await client.hSet("h", "field", "value");
    assert.deepEqual({ ...(await client.hGetAll("h")) }, { field: "value" });
    await assert.rejects(client.lPush("a", "1"), /WRONGTYPE/);
    assert.match(await client.sendCommand("a", false, ["CLIENT", "INFO"]), new RegExp(` resp=${RESP} `));
    await client.close();
  });

for (const scaleReads of ["master", "slave"])
  test(`ioredis: Cluster, reads from ${scaleReads}`, async () => {
    const client = new Cluster(nodes, { scaleReads });
    for (let number = 0; number < 20; number++) {
      assert.equal(await client.set(`key:${number}`, number), "OK");
      assert.equal(await client.get(`key:${number}`), String(number));
    }
    assert.deepEqual([client.nodes("master").length, client.nodes("slave").length], [1, 2]);
    assert.equal(await client.mset("a", 1, "b", 2), "OK");
    assert.deepEqual(await client.pipeline().set("{a}x", 1).get("{a}x").exec(), [[null, "OK"], [null, "1"]]);
    assert.deepEqual(await client.multi().set("a", 1).incr("a").exec(), [[null, "OK"], [null, 2]]);
    await assert.rejects(client.lpush("a", 1), /WRONGTYPE/);
    client.disconnect();
  });

test("node-redis: createSentinel", async () => {
  const client = createSentinel({ name: "mymaster", sentinelRootNodes: nodes, replicaPoolSize: 1 });
  client.on("error", (error) => console.error(error));
  await client.connect();
  assert.equal(await client.set("a", "1"), "OK");
  const replies = client.use(async (own) => {
    await own.watch("a");
    return own.multi().incr("a").exec();
  });
  assert.deepEqual(await replies, [2]);
  await client.close();
});

test("ioredis: sentinels", async () => {
  const leader = new Redis({ sentinels: nodes, name: "mymaster" });
  assert.equal((await leader.role())[0], "master");
  assert.equal(await leader.set("a", "1"), "OK");
  const follower = new Redis({ sentinels: nodes, name: "mymaster", role: "slave", readOnly: true });
  assert.equal((await follower.role())[0], "slave");
  assert.equal(await follower.get("a"), "1");
  leader.disconnect();
  follower.disconnect();
});
