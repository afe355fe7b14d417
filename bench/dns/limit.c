/*
 * The speed of the kernel: one or more SO_REUSEPORT sockets on 127.0.0.1 that
 * answer in batches (recvmmsg, sendmmsg) and know next to nothing of DNS.
 *
 *   limit PORT [threads]          sends every packet back: the ceiling
 *   limit PORT [threads] answer   answers every A question with 192.0.2.1 and
 *                                 every other with nothing, over UDP and TCP:
 *                                 the upstream
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 64, PACKET = 2048, HEADER = 12 };

static int port;
static bool answers;

static int open_socket(int type)
{
	int fd = socket(AF_INET, type, 0), on = 1, room = 8 << 20;
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd < 0)
		err(1, "socket");
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on))
		err(1, "SO_REUSEPORT");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
	if (bind(fd, (struct sockaddr *)&at, sizeof at))
		err(1, "bind 127.0.0.1:%d", port);
	return fd;
}

/* Length of header and question, 0 if there is not exactly one. */
static size_t question_end(const unsigned char *m, size_t n)
{
	size_t i = HEADER;
	if (n < HEADER || m[4] != 0 || m[5] != 1)
		return 0;
	while (i < n && m[i] != 0)
		i += m[i] + 1u;
	i += 1 + 4;
	return i <= n ? i : 0;
}

/* Turns the query in m into its answer and gives the answer's length. */
static size_t answer(unsigned char *m, size_t n)
{
	static const unsigned char a[] = {0xc0, HEADER, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 1};
	size_t end = question_end(m, n);
	if (end == 0)
		return 0;
	m[2] = 0x80 | (m[2] & 0x01); /* a response, RD as it was */
	m[3] = 0x80 | (m[3] & 0x10); /* RA, CD as it was */
	memset(m + 6, 0, 6);         /* no records, not even OPT */
	if (m[end - 4] != 0 || m[end - 3] != 1)
		return end;
	m[7] = 1;
	memcpy(m + end, a, sizeof a);
	return end + sizeof a;
}

static void *serve(void *unused)
{
	int fd = open_socket(SOCK_DGRAM);
	static _Thread_local unsigned char data[BATCH][PACKET + 64];
	static _Thread_local struct sockaddr_in peers[BATCH];
	struct mmsghdr messages[BATCH];
	struct iovec parts[BATCH];
	(void)unused;
	for (;;) { /* until somebody ends the process */
		for (int i = 0; i < BATCH; i++) {
			parts[i] = (struct iovec){data[i], PACKET};
			messages[i].msg_hdr = (struct msghdr){.msg_name = &peers[i], .msg_namelen = sizeof peers[i], .msg_iov = &parts[i], .msg_iovlen = 1};
		}
		int got = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL), ready = 0;
		for (int i = 0; i < got; i++) {
			size_t length = messages[i].msg_len;
			if (answers)
				length = answer(data[i], length);
			else if (length >= HEADER)
				data[i][2] |= 0x80;
			if (length == 0)
				continue;
			parts[i].iov_len = length;
			messages[ready++] = messages[i];
		}
		for (int sent = 0; sent < ready;) {
			int n = sendmmsg(fd, messages + sent, ready - sent, 0);
			sent += n > 0 ? n : 1; /* what cannot be sent is lost */
		}
	}
	return NULL;
}

/* One TCP connection: messages with their length before them. */
static void *converse(void *connection)
{
	int fd = (int)(long)connection;
	unsigned char message[2 + PACKET + 64];
	while (recv(fd, message, 2, MSG_WAITALL) == 2) {
		size_t length = message[0] << 8 | message[1];
		if (length > PACKET || recv(fd, message + 2, length, MSG_WAITALL) != (ssize_t)length)
			break;
		length = answer(message + 2, length);
		message[0] = length >> 8;
		message[1] = length;
		if (length == 0 || send(fd, message, 2 + length, MSG_NOSIGNAL) < 0)
			break;
	}
	close(fd);
	return NULL;
}

static void *accept_all(void *unused)
{
	int fd = open_socket(SOCK_STREAM), on = 1;
	(void)unused;
	if (listen(fd, 1024))
		err(1, "listen");
	for (;;) {
		pthread_t t;
		int connection = accept(fd, NULL, NULL);
		if (connection < 0)
			continue;
		setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		if (pthread_create(&t, NULL, converse, (void *)(long)connection))
			close(connection);
		else
			pthread_detach(t);
	}
	return NULL;
}

static void start(void *(*work)(void *))
{
	pthread_t t;
	if (pthread_create(&t, NULL, work, NULL))
		errx(1, "pthread_create");
}

int main(int argc, char **argv)
{
	if (argc < 2)
		errx(2, "usage: limit PORT [threads] [answer]");
	port = atoi(argv[1]);
	int threads = argc > 2 ? atoi(argv[2]) : 1;
	answers = argc > 3 && strcmp(argv[3], "answer") == 0;
	if (answers)
		start(accept_all);
	for (int i = 1; i < threads; i++)
		start(serve);
	serve(NULL);
}
