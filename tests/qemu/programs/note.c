/* A handler in C that uses floating point and mends a fault. */
#include "calls.h"

START(begin);

static volatile int notes;
static int number = 42;

__attribute__((noreturn)) static void handler(u64 *registers, const char *text, u64 len)
{
	volatile double spoil = 1.5;
	spoil *= spoil;
	if (length(text) != len)
		say("wrong length\n");
	notes++;
	/* rcx, whatever it was, is now a good address. */
	registers[13] = (u64)&number;
	for (;;)
		call4(43, 0, 0, 0, 0);
}

__attribute__((used)) void begin(u64 *stack)
{
	double half = 0.5 * stack[0];
	int got;
	call4(42, (u64)handler, 0, 0, 0);
	__asm__ volatile("movl (%%rcx), %0" : "=r"(got) : "c"(0) : "memory");
	if (got != 42 || notes != 1 || half != 0.5)
		say("wrong\n");
	say("note\n");
	end(0);
}
