# What each program does when deferred and eager I/O are compared: a part for
# each, in a directory of its own, with the files of `deferred_eager.rs` in
# ../in. Figures and times go nowhere.

## bench
bench channel.roundtrip write.runs.messages > /dev/null 2>&1; echo $?; ls -a

## bind
mkdir d; echo one > d/one; cp ../in/s4097 d/s
bind d /mnt; cat /mnt/one; cmp /mnt/s ../in/s4097; echo $?; cp /mnt/s /mnt/t
bind ../in/s4095 d/s; cmp d/s ../in/s4095; echo $?; cp ../in/big d/s; unmount d/s
cp ../in/s4095 ../in/s4095.back; cp ../in/s4095.saved ../in/s4095; unmount /mnt; ls d

## cat
for f in empty one s4095 s4096 s4097 big; do cat ../in/$f > $f; cmp $f ../in/$f; echo $f $?; done
cat ../in/one - ../in/s4097 no-such ../in/text < ../in/s4095 > all; echo $?; wc all
cat < ../in/s4096 | cat > piped; cmp piped ../in/s4096; echo $?
cat -n ../in/text > numbered; tail -n 2 numbered; cat -un ../in/one ../in/s4097 | wc; cat piped >> piped; echo $?; cat -x; echo $?

## chmod
cp ../in/s4097 a; chmod 600 a; ls -l a | head -c 10 > mode 2>/dev/null; chmod 444 a
echo x >> a; echo $?; chmod 666 a no-such; echo $?; echo x >> a; wc -c a

## clear
clear | xd; clear x > /dev/null; echo $?

## cmp
cmp ../in/big ../in/big; echo $?; cmp ../in/s4096 ../in/s4097; echo $?
cmp ../in/big ../in/s4095; echo $?; cmp ../in/empty ../in/one; echo $?; cmp -s ../in/one no-such; echo $?
cp ../in/big b; echo x | dd of=b bs=1 seek=3000000 conv=notrunc 2> /dev/null; cmp ../in/big b; echo $?
cmp ../in/sparse ../in/hole; echo $?
cmp - ../in/big < ../in/big; echo $?; cat ../in/s4096 | cmp ../in/s4097 -; echo $?

## count
count -t cat ../in/s4097 > a 2> /dev/null; echo $?; cmp a ../in/s4097; echo $?
count sh -c 'exit 3' 2> /dev/null; echo $?; count no-such 2> /dev/null; echo $?

## cp
for f in empty one s4095 s4096 s4097 big; do cp ../in/$f $f; cmp $f ../in/$f; echo $f $?; done
cp -r ../in/tree tree; ls tree tree/below; cp -r tree tree2; cp tree/* tree2/below; ls tree2/below
cp big big; echo $?; cp s4097 big; wc -c big; cp ../in/big s4095; cmp s4095 ../in/big; echo $?
cp ../in/hole hole; cmp hole ../in/hole; echo $?
cp ../in/big /tmp/big; cp /tmp/big back; cmp back ../in/big; echo $?; rm /tmp/big
cp /bin/echo echo; ./echo copied; cp no-such x; echo $?; cp ../in/one no-such/x; echo $?

## date
date 0; date 1234567890; date 1234567890 '+%F %T %j %s %a%%'; date 0 +%Q; echo $?; date +%Y > /dev/null; date > /dev/null; echo $?; date -n > /dev/null; date x; echo $?

## dd
for bs in 1 511 4095 4096 4097 65536 1M; do dd if=../in/big of=bs$bs bs=$bs count=9 skip=3 2> log$bs; cat log$bs; done
dd if=../in/big of=whole bs=4093 2> /dev/null; cmp whole ../in/big; echo $?
cp ../in/big to; dd if=../in/s4097 of=to bs=1000 seek=7 conv=notrunc 2> /dev/null; wc -c to
dd if=../in/s4097 of=cut bs=4096 seek=2 2> /dev/null; dd if=../in/one of=cut bs=1 seek=1 2> /dev/null; wc -c cut
# Over itself: forwards, backwards, by less than a block, by more.
cp ../in/big self; dd if=self of=self bs=64k seek=1 count=20 conv=notrunc 2> /dev/null
dd if=self of=self bs=64k skip=1 count=20 conv=notrunc 2> /dev/null; dd if=self of=self bs=100 seek=7 count=999 conv=notrunc 2> /dev/null
dd if=self of=self bs=1M seek=1 conv=notrunc count=3 2> /dev/null; wc -c self
dd if=../in/sparse bs=4k skip=131071 count=3 2> /dev/null | xd
dd if=/dev/zero of=zero bs=1M count=4 2> /dev/null; dd if=zero of=zero2 bs=333333 2> /dev/null; cmp zero zero2; echo $?

## diff
diff ../in/s4096 ../in/s4097; echo $?; diff -u ../in/text ../in/big > u; echo $?; wc u; diff -q ../in/one no-such; echo $?
cp ../in/text t; echo more >> t; diff ../in/text t; diff - t < ../in/text; diff ../in/big ../in/big; echo $?; mkdir d; cp t d; diff -q ../in/text t d; diff t d; echo $?

## du
du -ab ../in/tree; du -s ../in; du -b ../in/sparse no-such; echo $?; mkdir d; cp ../in/big d; ln d/big d/two; du -b; du -x; echo $?

## echo
/bin/echo one two; /bin/echo -n 'three  four' > a; /bin/echo five >> a; cat a; /bin/echo > empty; wc empty

## false
/bin/false; echo $?

## find
find ../in/tree; find ../in -name 's40*' -type f; find ../in -type d; find no-such; echo $?; mkdir d; find; find -size 3; echo $?

## free
free | grep -c .; free > /dev/null; echo $?

## grep
grep -c 7 ../in/text; grep -n '99$' ../in/text | head -n 5; grep -v 1 ../in/text | wc; grep -iq LINE ../in/text; echo $?
grep x ../in/empty no-such; echo $?; grep -c '' ../in/big; grep 4999 < ../in/text > found; cat found
grep -rc 7 ../in/tree ../in/text; echo $?; grep -rl '' ../in/tree; cd ../in/tree; grep -r none; echo $?; grep -rq '' . no-such; echo $?

## head
head ../in/text; head -n 1 ../in/text ../in/one; head -n 100000 ../in/text > all; cmp all ../in/text; echo $?
head -c 4097 ../in/big | xd -s 4090; head -c 0 ../in/one; head -c 9 ../in/one ../in/s4095; head -c 99999 ../in/s4097 | cmp - ../in/s4097
{ head -c 5000 > five; cat > after; } < ../in/s4097; wc five after; head -c x; echo $?
head -n 3 ../in/empty; { head -n 2 > first; cat > rest; } < ../in/text; wc first rest

## kill
sleep 100 & kill $!; wait $!; echo $?; kill 99999; echo $?; kill x; echo $?

## lazy
cp ../in/big big; lazy big > /dev/null; echo $?; lazy -n 60 -m 40 -s 3 big > /dev/null; cmp -s big ../in/big; echo $?
cp ../in/s4097 s; lazy -t s > /dev/null; echo $?; lazy -n 999999 -m 999999 ../in/big2 > /dev/null; echo $?
lazy ../in/empty; echo $?; lazy no-such; echo $?; lazy -s 5 ../in/sparse > /dev/null; echo $?

## less
less ../in/text > a; cmp a ../in/text; echo $?; less < ../in/big | cmp - ../in/big; echo $?; less no-such; echo $?; less ../in/one; less a b; echo $?

## ln
cp ../in/s4097 a; ln a b; echo x >> b; cmp a b; echo $?; ln -s a c; readlink c; cmp c b; echo $?; ln -s b c; echo $?
ln -sf b c; readlink c; ln -f a b; echo $?; mkdir d; ln -s ../a d/up; cmp d/up a; echo $?; cmp d/../c a; echo $?
cp c copied; [ -h copied ]; echo $?; cp -r d d2; readlink d2/up; mv d/up d/moved; [ -L d/moved ]; echo $?
ln -s d e; rm -r e; ls d; ln a c d2; ls d2; rm d/moved d2/up d2/c c; ln no-such x; echo $?; ln; echo $?
mkdir in; ln -s ../a in/l; cp -r in /tmp/in; readlink /tmp/in/l; mv in/l /tmp/in/m; readlink /tmp/in/m; rm -r /tmp/in

## ls
ls ../in; ls -d ../in ..; ls -a ../in/tree; ls -l ../in/empty | wc -w; ls no-such; echo $?; ls ../in > list; wc list
ls -R ../in/tree; cp -r ../in/tree t; mkdir -p t/below/more; ls -aR t | tail -n 3; ls -R t no-such; echo $?; ls -r ../in/tree; ls -1d t t/*
echo 1 > old; sleep 0.01; echo 2 > new; ls -t old new; ls -tr old new; touch t/a; ls -t t | head -n 1; rm -r t old new

## mem
mem > all; echo $?; head -n 1 all | wc -l; grep -c total all; mem $$ | grep -c stack; mem 99999; echo $?; mem -x > /dev/null; echo $?; rm all

## mkdir
mkdir a a/b; echo $?; mkdir a; echo $?; mkdir -p a/b/c/d a; echo $?; mkdir no/d; echo $?; ls a/b

## mount
mount /mnt ramfs -l 100000; cp ../in/s4097 /mnt/s; cmp /mnt/s ../in/s4097; echo $?
cp ../in/big /mnt/big; echo $?; wc -c /mnt/big; ls /mnt; unmount /mnt; mount /mnt no-such; echo $?

## mv
cp ../in/big a; cp ../in/s4097 b; mv a c; mv b c; cmp c ../in/s4097; echo $?; mkdir d; mv c d; ls . d
cp ../in/big e; mv e /tmp/e; ls; cmp /tmp/e ../in/big; echo $?; mv /tmp/e f; cmp f ../in/big; echo $?; mv no g; echo $?
cp -r ../in/tree t; mv t /tmp/t; mv /tmp/t u; ls u u/below; cmp u/a ../in/tree/a; echo $?; mv u u/v; mv f f; echo $?
mv d h; ls h; mkdir i; mv h i; mv f i; ls i

## ns
ns > a; wc -l a; mount -c /mnt ramfs; cd /tmp; ns | tail -n 1; mount | wc -l; unmount /mnt; ns x; echo $?

## numbers
mount /mnt numbers; ls -l /mnt | wc -l; head -c 20 /mnt/numbers | xd; dd if=/mnt/numbers bs=8 skip=137438953471 2> /dev/null | xd
head -c 100000 /mnt/numbers > a; cmp a /mnt/numbers | head -c 0; wc a; echo x > /mnt/numbers; echo $?; rm /mnt/numbers; echo $?; unmount /mnt

## packfs
packfs -c ../in/big a.packed; mount /mnt packfs a.packed; ls /mnt; cmp /mnt/a ../in/big; echo $?; unmount /mnt
for f in empty one s4095 s4096 text; do packfs -c ../in/$f $f; mount /mnt packfs $f; cmp /mnt/$f ../in/$f; echo $?; unmount /mnt; done
packfs -c text text; mount /mnt packfs text; cmp /mnt/text ../in/text > /dev/null; echo $?; unmount /mnt
mount /mnt packfs ../in/text 2> /dev/null; echo $?; packfs -c no-such b; echo $?; packfs -c a; echo $?; packfs; echo $?; ls

## ps
ps | grep -c ' ps$'; ps > /dev/null; echo $?

## ramfs
cp ../in/big /tmp/r; cmp /tmp/r ../in/big; echo $?; dd if=/tmp/r of=/tmp/r bs=4k seek=1 count=9 conv=notrunc 2> /dev/null
cp /tmp/r r; rm /tmp/r; echo a > /tmp/a; echo b >> /tmp/a; cp /tmp/a a; mv /tmp/a /tmp/b; cat /tmp/b; rm /tmp/b; ls /tmp

## rm
cp -R ../in/tree s; rm -R s; cp -r ../in/tree t; rm t; echo $?; rm -r t; cp ../in/one a; rm a b; echo $?; rm -f b; echo $?; ls
mkdir d; rm d; cp ../in/big x; { rm x; wc -c; } < x; ls

## seq
seq 5; seq 3 6; seq 100000 > many; wc many; seq x; echo $?

## primes
primes 30; primes 0; primes 201; echo $?

## sleep
sleep 0.01; echo $?; sleep; echo $?

## snapfs
mount /mnt snapfs ramfs -l 20000000; cp ../in/big /mnt/a; cmp /mnt/a ../in/big; echo $?; cp /mnt/a /mnt/b
dd if=/mnt/a of=/mnt/a bs=4k seek=1 count=200 conv=notrunc 2> /dev/null; cmp /mnt/a /mnt/b; echo $?; cmp /mnt/b ../in/big; echo $?
cp /mnt/a a; cp ../in/s4097 /mnt/a; cat /mnt/a /mnt/b > both; { rm /mnt/b; wc; } < /mnt/b; mv /mnt/a /mnt/c; ls -a /mnt; cmp /mnt/c ../in/s4097; echo $?
unmount /mnt; mount -o break /mnt snapfs ramfs -l 4000000; cp ../in/big /mnt/a; cp ../in/big2 /mnt/a; cmp /mnt/a ../in/big2; echo $?
cp ../in/big /mnt/b 2> /dev/null; echo $?; ls -a /mnt; unmount /mnt
mount /mnt snapfs 2> /dev/null; echo $?; mount /mnt snapfs no-such 2> /dev/null; echo $?; mount -o brake /mnt snapfs ramfs; echo $?; ls -a /mnt

## sort
sort ../in/text > s; wc s; sort -rn ../in/text | head -n 3; sort -u ../in/text ../in/text > u; cmp s u; echo $?
sort -o o ../in/text; cmp s o; cp ../in/text p; sort -nro p p; head -n 2 p; sort -o no/d p; echo $?
sort ../in/empty ../in/one; cp ../in/text self; sort -n self > self; wc self; sort no-such; echo $?

## sync
echo x > a; sync; echo $?; sync a; echo $?; sync no-such; echo $?

## tail
tail -n 3 ../in/text; tail ../in/text ../in/one; tail -n 100000 ../in/big > all; cmp all ../in/big; echo $?
tail -n +4999 ../in/text; tail -n +1 ../in/s4097 | cmp - ../in/s4097; tail -n +9999 ../in/text; tail -c 4097 ../in/big > end; wc -c end; xd -s 4090 end
tail -c +4090 ../in/s4097; tail -c +0 ../in/one; cat ../in/big | tail -c 5; tail -c 99999 ../in/s4095 | cmp - ../in/s4095; tail -n ++1; echo $?
tail -n 2 ../in/empty; cat ../in/text | tail -n 1; for i in 1 2 3; do echo $i >> grows; tail -n 2 grows; done

## tee
tee a b < ../in/big > c; cmp a c; echo $?; cmp b c; echo $?; echo more | tee -a a b; wc a b; tee no/d < ../in/one; echo $?
tee a < a; tee -a a < a; echo $?; wc a

## readlink
ln -s 'some text' l; readlink l; readlink l no-such ../in/one; echo $?; readlink; echo $?; rm l

## thrash
thrash -n 0 2> /dev/null; echo $?; thrash x 2> /dev/null; echo $?; thrash -q 2> /dev/null; echo $?

## touch
touch a; wc -c a; cp ../in/one b; touch b; cmp b ../in/one; echo $?; touch -c c; ls; touch no/d; echo $?

## trace
trace cat ../in/s4097 > a 2> /dev/null; echo $?; cmp a ../in/s4097; echo $?
trace -c sh -c 'exit 3' 2> /dev/null; echo $?; trace no-such 2> /dev/null; echo $?; trace -x 2> /dev/null; echo $?

## true
/bin/true; echo $?

## unmount
unmount /mnt; echo $?; bind ../in /mnt; unmount /mnt; ls /mnt; unmount no-such; echo $?

## wc
wc ../in/empty ../in/one ../in/s4095 ../in/s4096 ../in/s4097 ../in/big ../in/text; wc -c < ../in/s4097; cat ../in/big | wc -l
wc -c ../in/hole; wc no-such; echo $?

## xd
xd ../in/one; xd -s 4090 -n 20 ../in/s4097; xd -s 1073741820 ../in/sparse; xd -s 536870900 -n 32 ../in/sparse
xd ../in/empty; xd -s 3 < ../in/one; xd ../in/big > x; wc x; xd -n 40 ../in/hole; xd no-such; echo $?

## yes
yes | head -n 3; yes a 'b  c' | head -n 100000 | tail -n 1; yes > /dev/full; echo $?
