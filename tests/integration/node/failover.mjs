// A client that writes and reads while leaders die: `node failover.mjs KIND PORTS`, until the key "stop" is there.
//
// It sets its key to 1, 2, 3 ... and reads it back; what was acknowledged must be there. It prints, as JSON, what
// its last acknowledged value was, what it tried last, which errors it saw, and what was wrong.

import { setTimeout } from "node:timers/promises";
import { Cluster, Redis } from "ioredis";
import { createClient, createCluster, createSentinel } from "redis";

const [kind, list] = process.argv.slice(2);
const ports = list.split(",").map(Number);
const nodes = ports.map((port) => ({ host: "127.0.0.1", port }));
const rootNodes = ports.map((port) => ({ url: `redis://127.0.0.1:${port}` }));

// Their defaults look for the next leader after seconds only (5 in node-redis).
const KINDS = {
  "node-redis": () => createClient({ RESP: 3, url: rootNodes[0].url, socket: { reconnectStrategy: 50 } }),
  "node-redis-cluster": () => createCluster({ rootNodes, RESP: 3, topologyRefreshOnReconnectionAttemptStrategy: 100 }),
  "node-redis-sentinel": () => createSentinel({ name: "mymaster", sentinelRootNodes: nodes }),
  ioredis: () => new Redis({ ...nodes[0], lazyConnect: true, retryStrategy: () => 50, maxRetriesPerRequest: null }),
  "ioredis-cluster": () => new Cluster(nodes, { lazyConnect: true, clusterRetryStrategy: () => 50 }),
  "ioredis-sentinel": () =>
    new Redis({ sentinels: nodes, name: "mymaster", lazyConnect: true, retryStrategy: () => 50, maxRetriesPerRequest: null }),
};

const client = KINDS[kind]();
// Connections that break are told here; what counts is what the commands come to.
client.on("error", () => {});
await client.connect();

const seen = { acknowledged: 0, tried: 0, errors: {}, wrong: [] };

async function attempt(command) {
  try {
    return await command();
  } catch (error) {
    const text = error.message || error.constructor.name;
    seen.errors[text] = (seen.errors[text] ?? 0) + 1;
    // A client that refuses at once, while nobody leads, would otherwise only spin.
    await setTimeout(5);
    return undefined;
  }
}

while ((await attempt(() => client.get("stop"))) !== "now") {
  seen.tried += 1;
  if ((await attempt(() => client.set(kind, String(seen.tried)))) === "OK") seen.acknowledged = seen.tried;
  const found = await attempt(() => client.get(kind));
  if (found === undefined) continue;
  if (Number(found) < seen.acknowledged || Number(found) > seen.tried) seen.wrong.push({ ...seen, found });
}
process.stdout.write(JSON.stringify(seen));
process.exit();
