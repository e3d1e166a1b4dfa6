// The selection is in the address of the page: #/service/endpoint/subject, or #overview.

/** Return the names in the address: of a service, of its endpoint, and the subject. */
export function selection() {
  if (!location.hash.startsWith("#/")) return [];
  try {
    return location.hash.slice(2).split("/").map(decodeURIComponent);
  } catch {
    return [];
  }
}

export const link = (...parts) => `#/${parts.map(encodeURIComponent).join("/")}`;

export const toEndpoint = (service, endpoint) => link(service.name, endpoint.name, endpoint.subject);
