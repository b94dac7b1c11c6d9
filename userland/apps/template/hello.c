/* hello.c: a program for Dormouse without any library.
 *
 *     gcc -O2 -nostdlib -static -o hello hello.c
 *
 * The calls are in docs/syscalls.md. */

enum { EXITS = 1, PWRITE = 9 };

static long call(long number, long a, long b, long c, long d)
{
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall"
                     : "+a"(number)
                     : "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return number;
}

static long length(const char *text)
{
    long n = 0;
    while (text[n]) {
        n++;
        /* Or gcc would see a strlen in this, and call it. */
        __asm__("" : "+r"(n));
    }
    return n;
}

static void print(const char *text)
{
    call(PWRITE, 1, (long)text, length(text), -1);
}

static void finish(int status, const char *why)
{
    call(EXITS, status, (long)why, length(why), 0);
}

/* Called by the first instructions below, with the stack as the kernel left it:
 * the number of arguments, then pointers to them. */
void start(const long *stack)
{
    const char **arguments = (const char **)(stack + 1);
    print("hello, ");
    print(stack[0] > 1 ? arguments[1] : "world");
    print("\n");
    if (stack[0] < 1)
        finish(1, "a program has a name");
    finish(0, "");
}

__asm__(".globl _start\n"
        "_start: xor %ebp, %ebp\n"
        "        mov %rsp, %rdi\n"
        "        and $-16, %rsp\n"
        "        call start\n"
        "        ud2\n");
