// The counterpart of our Python package that is written with the npm packages of the NATS authors:
// "serve URL" offers a service until standard input ends, "call URL NAME" finds and calls one and
// prints what it saw as JSON.

import { connect, headers } from "@nats-io/transport-node";
import { ServiceError, ServiceErrorCodeHeader, ServiceErrorHeader, Svcm } from "@nats-io/services";

const print = (value) => console.log(JSON.stringify(value));

async function serve(nc) {
  const service = await new Svcm(nc).add({
    name: "interop",
    version: "2.1.0-rc.1+build.7",
    description: "What every peer offers",
    metadata: { peer: "js" },
    statsHandler: async (endpoint) => ({ about: endpoint.name, load: 0.5 }),
  });
  service.addEndpoint("echo", { subject: "interop.echo", handler: echo, metadata: { kind: "raw" } });
  service.addEndpoint("refuse", refuse);
  service.addEndpoint("crash", () => {
    throw new Error("secret");
  });
  service.addGroup("math", "calc").addGroup("v1").addEndpoint("add", add);
  const stream = service.addEndpoint("stream");
  await nc.flush();
  print({ id: service.ping().id });
  answer(stream); // never ends: stopping the service leaves an iterator open
  for await (const _ of process.stdin);
  await service.stop();
}

async function answer(stream) {
  for await (const request of stream) {
    // Takes a while of its own, so that the time spent has a fractional average.
    const until = performance.now() + 3;
    while (performance.now() < until);
    request.respond(request.data);
  }
}

function echo(_, request) {
  request.respond(request.data, { headers: request.headers });
}

function refuse(_, request) {
  const extra = headers();
  extra.set("Retry-After", "7");
  request.respondError(418, "I'm a teapot", "short and stout", { headers: extra });
}

function add(_, request) {
  const { a, b } = request.json();
  if (!Number.isInteger(a) || !Number.isInteger(b)) {
    request.respondError(400, "expected two integers", request.data);
  } else {
    request.respond(JSON.stringify(a + b));
  }
}

async function call(nc, name) {
  const trace = headers();
  trace.set("X-Trace", "t-1");
  const seen = {
    echo: await ask(nc, "interop.echo", "hello", trace),
    add: await ask(nc, "math.v1.add", '{"a": 19, "b": 23}'),
    bad: await ask(nc, "math.v1.add", '{"a": "nineteen"}'),
    refuse: await ask(nc, "refuse"),
    crash: await ask(nc, "crash"),
  };
  const client = new Svcm(nc).client({ strategy: "count", maxMessages: 1, maxWait: 5000 });
  const only = async (answers) => {
    for await (const found of await answers) {
      return found;
    }
    throw new Error("no answer");
  };
  const { id } = await only(client.ping(name));
  for (const [level, scope] of Object.entries({ all: [], name: [name], id: [name, id] })) {
    seen[level] = {
      ping: await only(client.ping(...scope)),
      info: await only(client.info(...scope)),
      stats: await only(client.stats(...scope)),
    };
  }
  print(seen);
}

async function ask(nc, subject, data, extra) {
  const reply = await nc.request(subject, data, { timeout: 5000, headers: extra });
  const found = {};
  for (const key of reply.headers?.keys() ?? []) {
    found[key] = reply.headers.get(key);
  }
  delete found[ServiceErrorCodeHeader];
  delete found[ServiceErrorHeader];
  const error = ServiceError.isServiceError(reply) ? ServiceError.toServiceError(reply) : null;
  return {
    data: reply.string(),
    headers: found,
    code: error === null ? "" : String(error.code),
    description: error === null ? "" : error.message,
  };
}

const [verb, servers, name] = process.argv.slice(2);
const nc = await connect({ servers });
await (verb === "serve" ? serve(nc) : call(nc, name));
await nc.close();
