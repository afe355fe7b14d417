/*
 * Asks as fast as it is answered, or at a given rate, in batches (sendmmsg,
 * recvmmsg), so that one core of generator keeps up with one core of server.
 *
 *   blast [-p port] [-c sockets] [-q under way on each] [-l seconds]
 *         [-n queries] [-r a second] [-u first] FILE
 *
 * FILE has a question a line, as dnsperf reads them: name, space, A or AAAA.
 * It is gone through again and again, or until -n queries. A name that begins
 * with ######## gets a number there that no other query has; -u says with
 * which to begin. Without -r the load is closed: there are always so many
 * queries under way, and a server that slows down is asked less. With -r it
 * asks at that rate whatever comes back, and counts a query that finds no
 * place under way as lost.
 *
 * Prints one line: sent, answered, lost, queries answered a second, answers by
 * code, and how long half, 99 % and 99.9 % of the answers took at most, in
 * microseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, PACKET = 512, SLOTS = 1024, SOCKETS = 256, DIGITS = 8, SLOWEST = 1000000 };

static const double patience = 2; /* seconds after which a query is lost */

struct question {
	size_t at;
	uint16_t length;
	bool numbered;
};

/* A query under way is a slot; its id is the slot's number and, above it, how
 * often the slot was used, so that a late answer is not taken for another. */
struct flow {
	int fd, under_way, free_count;
	uint16_t free[SLOTS], id[SLOTS];
	double since[SLOTS]; /* 0: free */
};

static struct question *questions;
static size_t question_count, next_question;
static unsigned char *bytes;
static long number = 1;
static struct flow *flows[SOCKETS];
static uint32_t took[SLOWEST + 1];
static long sent, answered, lost, by_code[16];

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

/* Writes name and type as a query into m, and gives its length. */
static size_t pack(unsigned char *m, char *name, const char *type)
{
	unsigned char *p = m + 12;
	memset(m, 0, 12);
	m[2] = 1; /* RD */
	m[5] = 1; /* one question */
	for (char *rest = name, *label; (label = strsep(&rest, "."));) {
		size_t n = strlen(label);
		if (n == 0)
			continue;
		if (n > 63 || p + n + 6 > m + 12 + 255)
			errx(1, "a name is too long");
		*p++ = n;
		memcpy(p, label, n);
		p += n;
	}
	*p++ = 0;
	*p++ = 0;
	*p++ = strcmp(type, "AAAA") == 0 ? 28 : 1;
	*p++ = 0;
	*p++ = 1;
	return p - m;
}

static void read_questions(const char *path)
{
	FILE *f = fopen(path, "r");
	char line[600], name[300], type[16];
	size_t room = 0, used = 0, space = 0;
	if (!f)
		err(1, "%s", path);
	while (fgets(line, sizeof line, f)) {
		if (sscanf(line, "%299s %15s", name, type) != 2)
			continue;
		if (question_count == room && !(questions = realloc(questions, (room = 2 * room + 1024) * sizeof *questions)))
			err(1, "memory");
		if (used + PACKET > space && !(bytes = realloc(bytes, space = 2 * space + (1 << 20))))
			err(1, "memory");
		bool numbered = strncmp(name, "########", DIGITS) == 0;
		size_t length = pack(bytes + used, name, type);
		questions[question_count++] = (struct question){used, length, numbered};
		used += length;
	}
	fclose(f);
	if (question_count == 0)
		errx(1, "%s: no question", path);
}

static struct flow *open_flow(int port)
{
	struct flow *f = calloc(1, sizeof *f);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int room = 4 << 20;
	if (!f || (f->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)) < 0)
		err(1, "socket");
	if (setsockopt(f->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room))
		setsockopt(f->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
	if (connect(f->fd, (struct sockaddr *)&to, sizeof to))
		err(1, "connect");
	for (int i = 0; i < SLOTS; i++)
		f->free[f->free_count++] = f->id[i] = i;
	return f;
}

static void release(struct flow *f, int slot)
{
	f->since[slot] = 0;
	f->id[slot] += SLOTS;
	f->free[f->free_count++] = slot;
	f->under_way--;
}

static void write_query(unsigned char *to, uint16_t id)
{
	const struct question *q = &questions[next_question];
	memcpy(to, bytes + q->at, q->length);
	to[0] = id >> 8;
	to[1] = id;
	if (q->numbered) {
		long n = number++;
		for (int i = DIGITS; i > 0; i--, n /= 10)
			to[12 + i] = '0' + n % 10;
	}
}

/* Sends up to count queries and gives how many left. */
static int send_some(struct flow *f, int count, double at)
{
	static unsigned char data[BATCH][PACKET];
	struct mmsghdr messages[BATCH];
	struct iovec parts[BATCH];
	int slots[BATCH], n = count < BATCH ? count : BATCH;
	if (n > f->free_count)
		n = f->free_count;
	for (int i = 0; i < n; i++) {
		slots[i] = f->free[--f->free_count];
		write_query(data[i], f->id[slots[i]]);
		parts[i] = (struct iovec){data[i], questions[next_question].length};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
		next_question = (next_question + 1) % question_count;
	}
	int ok = n > 0 ? sendmmsg(f->fd, messages, n, 0) : 0;
	if (ok < 0)
		ok = 0;
	for (int i = 0; i < ok; i++)
		f->since[slots[i]] = at;
	for (int i = n; i > ok; i--) /* in order, as they were */
		f->free[f->free_count++] = slots[i - 1];
	f->under_way += ok;
	sent += ok;
	return ok;
}

static int receive_some(struct flow *f)
{
	static unsigned char data[BATCH][PACKET * 8];
	struct mmsghdr messages[BATCH];
	struct iovec parts[BATCH];
	for (int i = 0; i < BATCH; i++) {
		parts[i] = (struct iovec){data[i], sizeof data[i]};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
	}
	int got = recvmmsg(f->fd, messages, BATCH, MSG_DONTWAIT, NULL), taken = 0;
	double at = got > 0 ? now() : 0;
	for (int i = 0; i < got; i++) {
		const unsigned char *m = data[i];
		if (messages[i].msg_len < 12 || !(m[2] & 0x80))
			continue;
		uint16_t id = m[0] << 8 | m[1], slot = id % SLOTS;
		if (f->since[slot] == 0 || f->id[slot] != id)
			continue;
		long us = (at - f->since[slot]) * 1e6;
		took[us < SLOWEST ? us : SLOWEST]++;
		by_code[m[3] & 15]++;
		answered++;
		taken++;
		release(f, slot);
	}
	return taken;
}

static void forget_lost(int count, double at)
{
	for (int i = 0; i < count; i++)
		for (int slot = 0; slot < SLOTS; slot++)
			if (flows[i]->since[slot] != 0 && at - flows[i]->since[slot] > patience) {
				release(flows[i], slot);
				lost++;
			}
}

static long slowest_of(double share)
{
	long so_far = 0, wanted = answered * share;
	for (long us = 0; us <= SLOWEST; us++)
		if ((so_far += took[us]) > wanted)
			return us;
	return SLOWEST;
}

int main(int argc, char **argv)
{
	int port = 53, count = 16, window = 16, option;
	double seconds = 3, rate = 0;
	long most = 0;
	while ((option = getopt(argc, argv, "p:c:q:l:n:r:u:")) != -1)
		switch (option) {
		case 'p': port = atoi(optarg); break;
		case 'c': count = atoi(optarg); break;
		case 'q': window = atoi(optarg); break;
		case 'l': seconds = atof(optarg); break;
		case 'n': most = atol(optarg); break;
		case 'r': rate = atof(optarg); break;
		case 'u': number = atol(optarg); break;
		default: return 2;
		}
	if (optind != argc - 1 || count < 1 || count > SOCKETS || window < 1 || window > SLOTS)
		errx(2, "usage: blast [-p port] [-c 1..%d] [-q 1..%d] [-l seconds] [-n queries] [-r rate] [-u first] FILE", SOCKETS, SLOTS);
	read_questions(argv[optind]);
	struct pollfd polled[SOCKETS];
	for (int i = 0; i < count; i++) {
		flows[i] = open_flow(port);
		polled[i] = (struct pollfd){flows[i]->fd, POLLIN, 0};
	}

	double began = now(), looked = began, last = began;
	long due = 0; /* queries that the rate has asked for */
	for (bool over = false;;) {
		double at = now();
		int moved = 0, under_way = 0;
		over = over || at - began >= seconds || (most > 0 && sent >= most);
		if (rate > 0 && !over)
			due = (at - began) * rate;
		for (int i = 0; i < count; i++) {
			struct flow *f = flows[i];
			long want = (rate > 0 ? SLOTS : window) - f->under_way;
			if (rate > 0 && want > due - sent)
				want = due - sent < BATCH / 8 ? due - sent : BATCH / 8; /* spread over the sockets */
			if (most > 0 && want > most - sent)
				want = most - sent;
			if (!over && want > 0)
				moved += send_some(f, want, at);
			if (f->under_way > 0 && receive_some(f) > 0) {
				moved++;
				last = now();
			}
			under_way += f->under_way;
		}
		if (at - looked > 0.25) {
			forget_lost(count, at);
			looked = at;
		}
		if (over && under_way == 0)
			break;
		if (moved == 0)
			poll(polled, count, rate > 0 && !over ? 0 : 1);
	}
	double lasted = most > 0 ? last - began : seconds;
	if (rate > 0 && due > sent)
		lost += due - sent;
	long other = answered - by_code[0] - by_code[2] - by_code[3] - by_code[5];
	printf("sent=%ld answered=%ld lost=%ld qps=%.0f noerror=%ld servfail=%ld nxdomain=%ld refused=%ld other=%ld p50=%ld p99=%ld p999=%ld\n",
	       sent, answered, lost, answered / lasted, by_code[0], by_code[2], by_code[3], by_code[5], other,
	       slowest_of(0.5), slowest_of(0.99), slowest_of(0.999));
	return answered > 0 ? 0 : 1;
}
