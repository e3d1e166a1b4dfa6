// nats.js services. usage: node service.mjs URL SUBJECT
import { connect } from "@nats-io/transport-node";
import { Svcm } from "@nats-io/services";

const [url, subject] = process.argv.slice(2);
const nc = await connect({ servers: url });
const service = await new Svcm(nc).add({ name: "bench", version: "1.0.0", queue: "q" });
service.addEndpoint("bench", { subject, handler: (_, message) => message.respond(message.data) });
await nc.flush();
