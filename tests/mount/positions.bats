# Positions at the far end of what a number can say.
load lib

@test "a read as far out as a file can be is at the end" {
    mkdir orders
    seq 1000 >> orders/0
    py <<'P'
for name in "orders/0", "orders/0@1", "orders/0@900", "orders/0@end":
    fd = os.open(name, os.O_RDONLY)
    for pos in 2**62, 2**63 - 8192, 2**63 - 2000, 2**63 - 101:
        same((name, pos, os.pread(fd, 100, pos)), (name, pos, b""))
    os.close(fd)
P
    is "$(head -n 1 orders/0@900)" 901
}
