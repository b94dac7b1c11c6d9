/* A static position-independent program; with RELATIVE defined one that has
   to relocate itself first. */
#include "calls.h"

START(begin);

#ifdef RELATIVE
extern const u64 _DYNAMIC[] __attribute__((visibility("hidden")));
extern const char __ehdr_start[] __attribute__((visibility("hidden")));

static void relocate(void)
{
	u64 base = (u64)__ehdr_start, rela = 0, size = 0;
	for (const u64 *d = _DYNAMIC; d[0]; d += 2) {
		if (d[0] == 7)
			rela = base + d[1];
		if (d[0] == 8)
			size = d[1];
	}
	for (u64 *r = (u64 *)rela; r < (u64 *)(rela + size); r += 3)
		if ((r[1] & 0xffffffff) == 8)
			*(u64 *)(base + r[0]) = base + r[2];
}

static const char *texts[] = { "relative\n", "relocated\n" };
#endif

__attribute__((used)) void begin(u64 *stack)
{
#ifdef RELATIVE
	relocate();
	say(texts[stack[0] - 1]);
#else
	say(stack[0] == 1 ? "pie\n" : "?\n");
#endif
	end(0);
}
