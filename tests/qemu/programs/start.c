/* What a program finds on its stack, and floating point. */
#include "calls.h"

START(begin);

static int same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static volatile double third = 3.0;

__attribute__((used)) void begin(u64 *stack)
{
	u64 argc = stack[0], found = 0;
	char **argv = (char **)(stack + 1);
	char **env = argv + argc + 1;
	u64 *pair;
	int known = 0;

	if ((u64)stack % 16 != 0)
		say("the stack is not aligned\n");
	if (argc != 3 || !same(argv[1], "one") || !same(argv[2], "two words") || argv[3])
		say("wrong arguments\n");
	for (; *env; env++)
		if (same(*env, "COLOUR=blue"))
			known = 1;
	if (!known)
		say("wrong environment\n");
	for (pair = (u64 *)env + 1; pair[0]; pair += 2) {
		if (pair[0] == 6 && pair[1] == 4096)
			found |= 1;
		if (pair[0] == 9 && pair[1] > 4096)
			found |= 2;
		if (pair[0] == 25 && *(u64 *)pair[1] != *((u64 *)pair[1] + 1))
			found |= 4;
		/* The first program header: its type is a small number. */
		if (pair[0] == 3 && *(unsigned *)pair[1] < 8)
			found |= 8;
		if (pair[0] == 31 && same((char *)pair[1], "/n/host/start"))
			found |= 16;
	}
	if (found != 31)
		say("wrong auxiliary vector\n");
	if (1.0 / third * 9.0 != third)
		say("wrong arithmetic\n");
	say("start\n");
	end(0);
}
