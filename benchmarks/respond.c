/* Answers every request on a subject with its own payload, over one socket: a responder that is never the bottleneck.
 *
 *   cc -O2 -o respond respond.c
 *   respond PORT SUBJECT */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM (4u << 20)

static void send_all(int sock, const char *data, size_t size) {
  while (size) {
    ssize_t n = send(sock, data, size, MSG_NOSIGNAL);
    if (n <= 0) exit(0);
    data += n;
    size -= n;
  }
}

int main(int argc, char **argv) {
  if (argc < 3) return 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int sock = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  if (connect(sock, (void *)&address, sizeof address)) { perror("connect"); return 2; }
  setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  char *in = malloc(ROOM), *out = malloc(2 * ROOM), hello[256];
  send_all(sock, hello, snprintf(hello, sizeof hello, "CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB %s q 1\r\nPING\r\n", argv[2]));
  size_t held = 0;
  for (;;) {
    ssize_t n = recv(sock, in + held, ROOM - held, 0);
    if (n <= 0) return 0;
    held += n;
    char *p = in, *end = in + held, *o = out;
    for (char *line_end; (line_end = memchr(p, '\n', end - p));) {
      char *body = line_end + 1;
      if (*p == 'M' || *p == 'H') { /* MSG subject sid reply size, or HMSG subject sid reply header_size size */
        char reply[256];
        size_t first = 0, second = 0;
        int words = sscanf(p, "%*s %*s %*s %255s %zu %zu", reply, &first, &second);
        size_t size = *p == 'H' ? second : first, head = *p == 'H' ? first : 0;
        if (words < 2) return 3; /* every request here has a reply subject */
        if ((size_t)(end - body) < size + 2) break;
        o += sprintf(o, "PUB %s %zu\r\n", reply, size - head);
        memcpy(o, body + head, size - head + 2);
        o += size - head + 2;
        body += size + 2;
      } else if (!strncmp(p, "PING", 4)) {
        memcpy(o, "PONG\r\n", 6);
        o += 6;
      }
      p = body;
    }
    send_all(sock, out, o - out);
    held = end - p;
    memmove(in, p, held);
  }
}
