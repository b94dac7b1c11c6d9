/* Ends by a fault, for its backtrace. */

/* Its first instruction is the fault. */
__attribute__((naked, noinline)) void falls(void) {
    __asm__("movq $1, 0x10"); /* here */
}

__attribute__((noinline)) void calls(void) {
    falls();
    __asm__ volatile("");
}

void _start(void) {
    calls();
    for (;;) {
    }
}
