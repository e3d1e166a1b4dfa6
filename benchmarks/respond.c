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
      if (*p == 'M') { /* MSG subject sid reply size */
        char subject[256], reply[256];
        unsigned sid;
        size_t size;
        int words = sscanf(p, "MSG %255s %u %255s %zu", subject, &sid, reply, &size);
        if (words < 3 || words == 3) size = words == 3 ? strtoul(reply, NULL, 10) : 0;
        if ((size_t)(end - body) < size + 2) break;
        if (words == 4) {
          o += sprintf(o, "PUB %s %zu\r\n", reply, size);
          memcpy(o, body, size + 2);
          o += size + 2;
        }
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
