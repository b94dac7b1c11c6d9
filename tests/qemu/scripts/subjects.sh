# What is tried to tell deferred from eager I/O, beside what single programs
# do: a part for each subject, in a directory of its own.

## redirections
# Onto the file that is read, before and behind.
cp ../in/text f; sort f > f; wc -c f; cp ../in/text f; cat f >> f2; cat f f2 > f3; wc f f2 f3
# (The first line says that the file was read: only then it is overwritten.)
cp ../in/text f; head -n 5 f | { read a; { echo "$a"; cat; } > f; }; wc f; cp ../in/text f; { head -n 2; cat > f; } < f; wc f
cp ../in/text f; { read a; read b; echo "$b"; sort > sorted; } < f; wc sorted
# Several descriptors of one file; the offset that parent and child share.
{ echo one; sh -c 'echo two'; (echo three); } > g; cat g
{ echo one; echo two >&2; cat ../in/s4097; } > h 2>&1; wc h
{ echo abcdef; cat ../in/s4095; } > i; { head -n 1; wc -c; } < i
echo x <> i; cat < i | head -n 1 > j; cat j
{ cat > k; } < ../in/big; cmp k ../in/big; echo $?
echo replaced > k; wc k; cat < ../in/empty > k; wc k

## growing
for i in 1 2 3 4 5 6 7 8 9; do cat ../in/s4095 >> a; tail -n 1 a | wc -c; wc -c a; done
cp a b; cat b >> a; cat a >> b; wc -c a b
seq 2000 > n; for i in 1 2 3; do tail -n 3 n >> n; done; tail -n 4 n; wc n
dd if=../in/s4097 of=end bs=1 count=3 2> /dev/null; for s in 1 2 3; do dd if=end of=end bs=3 seek=$s conv=notrunc count=1 2> /dev/null; done; cat end | wc

## names
# Open files keep their content whatever happens to their names.
cp ../in/big a; cp ../in/s4097 b; { mv b a; cp ../in/one b; wc -c; } < a; wc -c a b
cp ../in/big a; { rm a; echo new > a; cmp - ../in/big 2> /dev/null; cat > saved; } < a; cmp saved ../in/big; echo $?; cat a
cp ../in/text t; { for i in 1 2 3 4; do mv t u; mv u t; done; rm t; mkdir t; sort > t/sorted; } < t; wc t/sorted
cp ../in/s4096 x; cp ../in/s4097 y; for i in 1 2 3; do mv x z; mv y x; mv z y; done; cmp x ../in/s4097; echo $?
cp ../in/big a; { cp ../in/s4095 a; cat > read; } < a; wc -c read a
ls

## writers
# Parts of one file by several processes, and a reader of the result.
cp ../in/big f
for i in 1 2 3 4 5 6; do { dd if=../in/text of=f bs=1000 seek=$((i * 100)) count=90 conv=notrunc 2> /dev/null; } & done; wait
cmp f ../in/big; wc f
cp f g & cp f h & wait; cmp g h; echo $?
for i in 1 2 3; do cp ../in/hole s$i & done; wait; cmp s1 s2; echo $?; cmp s3 ../in/hole; echo $?

## pipes
cat ../in/big | tee a | tee b | cat > c; cmp a ../in/big; cmp b c; echo $?
cat ../in/big | head -n 3 > d; wc d; seq 50000 | sort -rn | sort -n | tail -n 1
cat ../in/sparse | head -c 1 2> /dev/null; dd if=../in/hole bs=1M 2> /dev/null | dd bs=777 of=e 2> /dev/null; cmp e ../in/hole; echo $?

## edges
# Every length and offset around a page and a block of the server.
for n in 0 1 4094 4095 4096 4097 8191 8192 8193; do
    dd if=../in/big of=a$n bs=$n count=1 2> /dev/null; dd if=../in/big of=b$n bs=1 skip=$n count=1 2> /dev/null
    cp ../in/text c$n; dd if=../in/big of=c$n bs=1 seek=$n count=5 conv=notrunc 2> /dev/null
    cp ../in/s4097 d$n; dd if=d$n of=d$n bs=4096 seek=1 count=2 conv=notrunc 2> /dev/null
done
wc -c a* b* c* d*

## programs
# Programs replaced while they run, and scripts that change themselves.
cp /bin/cat run; { echo one; sleep 0.1; echo two; } | ./run | { read a; cp /bin/echo run; echo "$a"; cat; }; ./run now echo
cp /bin/sh mine; echo 'echo one; cp two script; echo three' > script; echo 'echo replaced' > two; ./mine script; ./mine script
echo 'rm self; echo still here; ls' > self; sh self
