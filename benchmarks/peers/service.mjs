// nats.js services. usage: node service.mjs URL SUBJECT [echo|sleep]
import { connect } from "@nats-io/transport-node";
import { Svcm } from "@nats-io/services";

const [url, subject, kind] = process.argv.slice(2);
const nc = await connect({ servers: url });
const service = await new Svcm(nc).add({ name: "bench", version: "1.0.0", queue: "q" });
const echo = (_, message) => message.respond(message.data);
const sleep = (_, message) => setTimeout(() => message.respond(message.data), 10);
service.addEndpoint("bench", { subject, handler: kind === "sleep" ? sleep : echo });
await nc.flush();
