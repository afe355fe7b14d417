/*
 * What a proxy could be: reads a CONNECT, connects to the IPv4 address in it,
 * and has the kernel move the bytes, by epoll and splice(2). It looks nothing
 * up, judges nothing and logs nothing.
 *
 *   splice PORT
 *
 * A pipe is borrowed while bytes are on their way and given back when it is
 * empty, so that an idle tunnel holds two descriptors and a few hundred bytes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, HEAD = 4096, PIPE = 1 << 20, SPARE = 64 };

struct pipe {
	int in, out;
};

/* One side of a tunnel. What it has sent and the other side has not yet taken
 * is in its pipe. */
struct end {
	int fd;
	struct end *other;
	struct pipe pipe; /* in < 0: none is borrowed */
	size_t held;      /* bytes in it */
	bool connecting, finished, told;
	bool dead;
	struct end *next; /* of the dead */
};

static struct pipe spare[SPARE];
static int spares, poller;
static struct end *dead;

static bool borrow(struct pipe *p)
{
	if (spares > 0) {
		*p = spare[--spares];
		return true;
	}
	int fds[2];
	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC))
		return false;
	(void)fcntl(fds[0], F_SETPIPE_SZ, PIPE); /* smaller will do, where it is not allowed */
	p->out = fds[0];
	p->in = fds[1];
	return true;
}

static void give_back(struct end *e)
{
	if (e->pipe.in < 0)
		return;
	if (e->held == 0 && spares < SPARE) {
		spare[spares++] = e->pipe;
	} else {
		close(e->pipe.in);
		close(e->pipe.out);
	}
	e->pipe.in = -1;
}

static struct end *new_end(int fd)
{
	struct end *e = calloc(1, sizeof *e);
	if (!e)
		err(1, "memory");
	e->fd = fd;
	e->pipe.in = -1;
	int on = 1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = e};
	if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event))
		err(1, "epoll_ctl");
	return e;
}

/* Events that were taken already may still name an end: it is freed later. */
static void drop(struct end *e)
{
	if (e->dead)
		return;
	e->dead = true;
	give_back(e);
	close(e->fd);
	e->next = dead;
	dead = e;
	if (e->other)
		drop(e->other);
}

static void bury(void)
{
	while (dead) {
		struct end *next = dead->next;
		free(dead);
		dead = next;
	}
}

/* Moves what it can from one end to the other; false where the tunnel is over. */
static bool move(struct end *from)
{
	struct end *to = from->other;
	for (bool moved = true; moved;) {
		moved = false;
		if (!from->finished && from->held < PIPE) {
			if (from->pipe.in < 0 && !borrow(&from->pipe))
				return false;
			ssize_t n = splice(from->fd, NULL, from->pipe.in, NULL, PIPE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
			if (n > 0) {
				from->held += n;
				moved = true;
			} else if (n == 0) {
				from->finished = true;
			} else if (errno != EAGAIN) {
				return false;
			}
		}
		if (from->held > 0 && !to->connecting) {
			ssize_t n = splice(from->pipe.out, NULL, to->fd, NULL, from->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
			if (n > 0) {
				from->held -= n;
				moved = true;
			} else if (n < 0 && errno != EAGAIN) {
				return false;
			}
		}
	}
	if (from->held == 0)
		give_back(from);
	if (from->finished && from->held == 0 && !from->told && !to->connecting) {
		from->told = true;
		(void)shutdown(to->fd, SHUT_WR);
	}
	return !(from->told && to->told);
}

/* Reads a CONNECT and begins to connect; false where that is none. What the
 * client has sent behind it stays in its socket. */
static bool ask(struct end *client)
{
	char head[HEAD + 1], host[64];
	unsigned port;
	ssize_t n = recv(client->fd, head, HEAD, MSG_PEEK);
	if (n < 0 && errno == EAGAIN)
		return true;
	if (n <= 0)
		return false;
	head[n] = 0;
	char *end = strstr(head, "\r\n\r\n");
	if (!end)
		return n < HEAD;
	struct sockaddr_in to = {.sin_family = AF_INET};
	if (sscanf(head, "CONNECT %63[0-9.]:%5u ", host, &port) != 2 || port > 65535 || !inet_aton(host, &to.sin_addr))
		return false;
	to.sin_port = htons(port);
	if (recv(client->fd, head, end + 4 - head, 0) != end + 4 - head)
		return false;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	bool connecting = connect(fd, (struct sockaddr *)&to, sizeof to) != 0;
	if (connecting && errno != EINPROGRESS) {
		close(fd);
		return false;
	}
	struct end *upstream = new_end(fd);
	upstream->connecting = true; /* its first event says how it went */
	upstream->other = client;
	client->other = upstream;
	return true;
}

static bool connected(struct end *upstream)
{
	static const char yes[] = "HTTP/1.1 200 Connection established\r\n\r\n";
	int fault = 0;
	socklen_t size = sizeof fault;
	if (getsockopt(upstream->fd, SOL_SOCKET, SO_ERROR, &fault, &size) || fault)
		return false;
	upstream->connecting = false;
	return send(upstream->other->fd, yes, sizeof yes - 1, MSG_NOSIGNAL) == sizeof yes - 1;
}

static void advance(struct end *e, unsigned events)
{
	if (!e->other) {
		if (!ask(e))
			drop(e);
		return;
	}
	if (e->connecting) {
		if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
			return;
		if (!connected(e)) {
			drop(e);
			return;
		}
	}
	if (!move(e) || !move(e->other))
		drop(e);
}

static void welcome(int listener)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0)
			new_end(fd);
		else if (errno == EAGAIN)
			return;
		else if (errno != ECONNABORTED && errno != EINTR)
			err(1, "accept");
	}
}

int main(int argc, char **argv)
{
	if (argc != 2)
		errx(2, "usage: splice PORT");
	signal(SIGPIPE, SIG_IGN);
	struct rlimit limit;
	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	(void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4096))
		err(1, "listen");
	poller = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
	if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event))
		err(1, "epoll");
	for (;;) {
		int n = epoll_wait(poller, events, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			struct end *e = events[i].data.ptr;
			if (!e)
				welcome(listener);
			else if (!e->dead)
				advance(e, events[i].events);
		}
		bury();
	}
}
