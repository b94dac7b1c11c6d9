/* Constants, data and zeros, wherever a linker puts them. */
#include "calls.h"

START(begin);

static const char fine[] = ": data, zeros and constants\n";
static const u64 constants[600] = {[0] = 3, [599] = 5};
static volatile u64 data[600] = {[0] = 7, [599] = 9};
static volatile u64 zeros[3000];

__attribute__((used)) void begin(u64 *stack)
{
	const volatile u64 *c = constants;
	u64 sum = 0;
	int i;

	for (i = 0; i < 3000; i++)
		sum |= zeros[i];
	for (i = 1; i < 599; i++)
		sum |= data[i] | c[i];
	if (sum || c[0] != 3 || c[599] != 5 || data[0] != 7 || data[599] != 9) {
		say("wrong memory\n");
		end(1);
	}
	data[599]++;
	zeros[2999] = data[599];
	if (zeros[2999] != 10)
		say("wrong stores\n");
	say((char *)stack[1]);
	say(fine);
	end(0);
}
