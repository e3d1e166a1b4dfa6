// Search over services, endpoints and metadata.

const SCHEMAS = new Set(["micro.request.schema", "micro.response.schema"]);

/** Return the entries of metadata for people: all but the schemas. */
export const plainMetadata = (metadata) =>
  Object.entries(metadata).filter(([key]) => !SCHEMAS.has(key));

/**
 * Return the services in which every word of `wanted` occurs, each as {service, endpoints}:
 * the endpoints in which some word occurs, none if the service itself has all of them.
 */
export function search(services, wanted) {
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  return services.map((service) => match(service, words)).filter((found) => found !== null);
}

function match(service, words) {
  const own = textOf(service.name, service.description, service.versions, service.metadata,
    service.instances.map((one) => [one.id, plainMetadata(one.metadata)]));
  const left = words.filter((word) => !own.includes(word));
  if (left.length === 0) return { service, endpoints: [] };
  const endpoints = service.endpoints.filter((one) => {
    const text = textOf(one.name, one.subject, one.queue_groups, one.metadata);
    return left.every((word) => text.includes(word));
  });
  return endpoints.length ? { service, endpoints } : null;
}

function textOf(...parts) {
  const texts = parts.map((part) =>
    typeof part === "string" ? part : Array.isArray(part) ? part.flat(3) : plainMetadata(part).flat());
  return texts.flat().join("\n").toLowerCase();
}
