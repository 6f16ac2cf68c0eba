// The lower bound: one thread, epoll, only the system calls that the work needs.
// Build: cc -O2 -o epoll epoll.c    Run: epoll PORT LOG
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

struct client {
  int fd;
  long number;
  char *message;
  size_t capacity, received, sent;
};

static int epoll, log_fd;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void drop(struct client *c) {
  close(c->fd);
  free(c->message);
  free(c);
}

static void finish(struct client *c) {
  char line[64];
  int length = snprintf(line, sizeof line, "[client %ld]: received %zu bytes\n", c->number, c->received);
  if (write(log_fd, line, length) != length) die("write log");
  drop(c);
}

static void send_back(struct client *c) {
  while (c->sent < c->received) {
    ssize_t n = write(c->fd, c->message + c->sent, c->received - c->sent);
    if (n < 0 && errno == EAGAIN) {
      struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
      epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
      return;
    }
    if (n < 0) return drop(c);
    c->sent += n;
  }
  finish(c);
}

static void receive(struct client *c) {
  for (;;) {
    if (c->received == c->capacity) {
      c->capacity = c->capacity ? 2 * c->capacity : 4096;
      c->message = realloc(c->message, c->capacity);
      if (!c->message) die("realloc");
    }
    ssize_t n = read(c->fd, c->message + c->received, c->capacity - c->received);
    if (n == 0) return send_back(c);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) return drop(c);
    c->received += n;
  }
}

static void accept_all(int listener) {
  static long accepted;
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && errno == EAGAIN) return;
    if (fd < 0) {
      if (errno == EMFILE || errno == ENFILE) die("accept");
      continue;
    }
    struct client *c = calloc(1, sizeof *c);
    if (!c) die("calloc");
    c->fd = fd;
    c->number = ++accepted;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
  }
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: epoll PORT LOG\n");
    return 2;
  }
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  log_fd = open(argv[2], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (log_fd < 0) die(argv[2]);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
  if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) die("bind");
  if (listen(listener, SOMAXCONN) < 0) die("listen");

  epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    struct epoll_event events[256];
    int ready = epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < ready; i++) {
      struct client *c = events[i].data.ptr;
      if (!c) accept_all(listener);
      else if (events[i].events & EPOLLOUT) send_back(c);
      else receive(c);
    }
  }
}
