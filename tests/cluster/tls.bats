#!/usr/bin/env bats
# Who is let in, and what both sides say of who is not.
load lib

# connected A B: each has said so of the other since the logs were forgotten.
connected() { logged "$1" "peer $2 (" && grep -q "^peer $2 (.*): connected" "$C/log/$1" && grep -q "^peer $1 (.*): connected" "$C/log/$2"; }
lines() { grep -cE -- "$2" "$C/log/$1" || :; } # NODE REGULAR-EXPRESSION

# refused A B WORDS-OF-A WORDS-OF-B: each logs one line of it that names the other; more attempts bring no more lines.
refused() {
    wait_until "[ \$(lines $1 'peer $2 .*($3)') -ge 1 ] && [ \$(lines $2 '(peer|node) $1 .*($4)|connection from .*($4)') -ge 1 ]"
    ! connected "$1" "$2"
}

hello() { # FROM TO FIELD=VALUE…: one by hand; its answer is in $T/answer
    local from=$1 to=$2
    shift 2
    cluster exec "$C" "$from" python3 "$BATS_TEST_DIRNAME/hello.py" "10.44.0.$to" 9440 "$@" >"$T/answer"
}

reload() { kill -HUP "$(daemon "$1")"; } # NODE

@test "nodes with certificates of one CA meet; who is in one of another is refused by both, and so is a CA of its own" {
    start_cluster 2
    wait_until 'connected 1 2'
    cluster stop "$C" 2
    mv "$C/tls" "$T/good"
    mkdir "$C/tls"
    "$ROOT/mount-scripts/logmnt-ca" "$T/evil" 2
    cp "$T/good"/* "$C/tls"
    cp "$T/evil/node-2.crt" "$T/evil/node-2.key" "$C/tls"
    forget_logs
    cluster start "$C" 2
    refused 1 2 'certificate' 'certificate|unknown ca'
    at_most "$(lines 1 'peer 2 ')" 2
}

@test "a certificate of another node's id is no start for that node, and no way in for who shows it" {
    start_cluster 2
    wait_until 'connected 1 2'
    cluster stop "$C" 2
    cp "$C/tls/node-1.crt" "$C/tls/node-2.crt"
    cp "$C/tls/node-1.key" "$C/tls/node-2.key"
    fails 'node-2.crt does not name this node: it needs the alternative name DNS:node-2.logmnt' cluster start "$C" 2
    "$ROOT/mount-scripts/logmnt-ca" "$C/tls" 2
    cp "$C/tls/node-1.key" "$C/tls/node-2.key"
    fails 'is not the key of tls.cert=' cluster start "$C" 2
    "$ROOT/mount-scripts/logmnt-ca" "$C/tls" 2
    hello 2 1 "tls=$C/tls/node-1" from=2 to=1
    grep -q 'refusal.*its certificate does not name node-2.logmnt' "$T/answer"
    wait_until "logged 1 'its certificate does not name node-2.logmnt'"
    hello 2 1 "tls=$C/tls/node-2" from=2 to=1
    grep -q welcome "$T/answer"
}

@test "an expired certificate is logged, the mount comes up, and both sides say why they do not meet" {
    start_cluster 2
    wait_until 'connected 1 2'
    cluster stop "$C" 2
    expired 2
    forget_logs
    cluster start "$C" 2
    ls "$C/2"
    wait_until "logged 2 'has expired'"
    refused 1 2 'expired' 'expired'
    "$ROOT/mount-scripts/logmnt-ca" "$C/tls" 2
    forget_logs
    reload 2
    wait_until 'logged 2 "the certificates were read anew"'
    wait_until 'connected 1 2'
}

# A certificate of the cluster's CA that was valid yesterday.
expired() { # NODE
    local tls=$C/tls
    openssl req -new -key "$tls/node-$1.key" -subj "/CN=node-$1.logmnt" -out "$T/csr"
    printf '%s\n' "subjectAltName=DNS:node-$1.logmnt" >"$T/ext"
    mkdir -p "$T/ca" && : >"$T/ca/index.txt"
    printf '%s\n' '[ca]' 'default_ca=d' '[d]' "new_certs_dir=$T/ca" "database=$T/ca/index.txt" "rand_serial=yes" \
        'default_md=sha256' 'policy=p' '[p]' 'commonName=supplied' >"$T/ca/conf"
    openssl ca -batch -config "$T/ca/conf" -cert "$tls/ca.crt" -keyfile "$tls/ca.key" -in "$T/csr" -extfile "$T/ext" \
        -startdate 20200101000000Z -enddate 20200102000000Z -notext -out "$tls/node-$1.crt" 2>"$T/said" || { cat "$T/said"; return 1; }
}

@test "one with TLS and one without refuse each other, and say so" {
    start_cluster 2
    wait_until 'connected 1 2'
    cluster stop "$C" 2
    sed -i 's/^OPTIONS=.*/OPTIONS=tls=off/' "$C/cluster"
    forget_logs
    cluster start "$C" 2
    refused 1 2 'has it tls=off' 'has TLS, this node has not'
    wait_until "logged 1 'speaks without TLS, this one with it'"
    wait_until "logged 2 'speaks TLS, this one without it'"
    ls "$C/1" "$C/2"
}

@test "SIGHUP reads certificates anew, never ends a daemon, and files that do not load change nothing" {
    start_cluster 2
    wait_until 'connected 1 2'
    cp -r "$C/tls" "$T/good"
    forget_logs
    reload 1
    wait_until 'logged 1 "the certificates were read anew"'
    for bad in "echo junk > node-1.crt" "rm node-1.key" ": > ca.crt" "cp node-2.key node-1.key" \
        "cp node-2.crt node-1.crt; cp node-2.key node-1.key"; do
        (cd "$C/tls" && eval "$bad")
        forget_logs
        reload 1
        wait_until 'logged 1 "the certificates stay as they were"'
        cp "$T/good"/* "$C/tls"
    done
    # The old ones are in use: a new connection stands.
    forget_logs
    cluster restart "$C" 2
    wait_until 'connected 1 2'
    # A new CA goes round: both certificates, node by node; what stands goes on.
    rm -r "$C/tls"
    "$ROOT/mount-scripts/logmnt-ca" "$C/tls" 1 2
    forget_logs
    reload 1
    reload 2
    wait_until 'logged 1 "the certificates were read anew" && logged 2 "the certificates were read anew"'
    not grep -q lost "$C"/log/*
    cluster cut "$C" 1-2
    cluster heal "$C"
    cluster kill "$C" 2
    cluster start "$C" 2
    wait_until 'connected 1 2'
    [ "$(daemon 1)" = "$(pgrep -of "^$LOGMNT .*data=$C/data/1,")" ]
}

# The program with this cluster's addresses as those of IPv6 have to be written.
speak_ipv6() {
    local node
    for node in 1 2; do cluster exec "$C" "$node" ip address add "fd44::$node/64" dev eth0 nodad; done
    cat >"$T/logmnt" <<END
#!/usr/bin/env bash
exec $LOGMNT "\$1" "\$2" "\$(sed 's/10\.44\.0\.\([0-9]\)/[fd44::\1]/g' <<<"\$3")" "\$4"
END
    chmod +x "$T/logmnt"
}

@test "nodes meet by addresses of IPv6, and are shown with them as they are given" {
    start_cluster 2
    wait_until 'connected 1 2'
    cluster stop "$C"
    speak_ipv6
    forget_logs
    LOGMNT=$T/logmnt cluster start "$C"
    wait_until 'connected 1 2'
    grep -q '^peer 2 (\[fd44::2\]:[0-9]*): connected' "$C/log/1"
    for node in 1 2; do
        wait_until "[ \"\$(awk '{ print \$1, \$2 }' $C/$node/.cluster/nodes | paste -sd,)\" = 'id address,1 [fd44::1]:9440,2 [fd44::2]:9440' ]"
    done
    wait_until 'mkdir "$C/1/orders" 2>/dev/null || [ -d "$C/1/orders" ]'
    wait_until '[ -d "$C/2/orders" ]'
    echo tea >>"$C/2/orders/0"
    wait_until '[ "$(cat "$C/1/orders/0")" = tea ]'
}

@test "another cluster, another id, another version: one line on each side" {
    start_cluster -o tls=off 2
    wait_until 'connected 1 2'
    # Node 2's directory is another cluster's.
    cluster stop "$C" 2
    cluster wipe "$C" 2
    mkdir "$T/mnt"
    "$LOGMNT" -o "data=$C/data/2,id=2" "$T/mnt" 3>&-
    fusermount3 -u "$T/mnt"
    wait_until '! pgrep -f "^$LOGMNT .*data=$C/data/2,id=2 "'
    forget_logs
    cluster start "$C" 2
    refused 1 2 'is of cluster' 'is of cluster'
    ls "$C/2"
    # It says that it is node 1.
    hello 2 1 from=1 to=1
    grep -q "has this node's own id 1" "$T/answer"
    hello 2 1 from=7 to=9
    grep -q 'takes this node for node 9' "$T/answer"
    hello 2 1 from=7 to=1 protocol=2
    grep -q 'speaks protocol 2 to 2, this node 1 to 1: upgrade' "$T/answer"
    wait_until 'logged 1 "node 7 (10.44.0.2:"'
    # What is no hello at all is one line, however often.
    for _ in 1 2 3 4 5; do cluster exec "$C" 2 bash -c 'echo GET /index.html HTTP/1.0 >/dev/tcp/10.44.0.1/9440'; done
    wait_until "[ \$(lines 1 'a connection from 10.44.0.2:') = 1 ]"
    is "$(lines 1 'a connection from')" 1
}

# On node 3's host, which does not run, as it would be with another one's id, or list.
start_by_hand() { # DATA OPTIONS
    "$ROOT/mount-scripts/logmnt-cluster" exec "$C" 3 "$LOGMNT" -f \
        -o "data=$C/data/$1,listen=10.44.0.3:9440,tls.ca=$C/tls/ca.crt,$2" "$C/3" >"$C/log/by_hand" 2>&1 3>&- &
    BG+=("$!")
    wait_until 'mountpoint -q "$C/3"'
}

stop_by_hand() {
    fusermount3 -u "$C/3"
    wait "${BG[-1]}"
}

@test "a second node with the id of one that runs is said by both sides, once, and the first one goes on" {
    start_cluster 3
    wait_until 'connected 1 2 && connected 1 3'
    cluster stop "$C" 3
    wait_until 'mkdir "$C/1/orders" 2>/dev/null || [ -d "$C/1/orders" ]'
    forget_logs
    start_by_hand twin "id=2,peer=1@10.44.0.1:9440,peer=2@10.44.0.3:9440,tls.cert=$C/tls/node-2.crt,tls.key=$C/tls/node-2.key"
    wait_until 'grep -q "^peer 2 (10.44.0.2:[0-9]*): runs twice, also at 10.44.0.3:[0-9]*: stop one of them" "$C/log/1"'
    wait_until 'grep -q "^peer 1 (10.44.0.1:[0-9]*): refuses this node: runs twice, also at 10.44.0.2:[0-9]*" "$C/log/by_hand"'
    for line in $(seq 20); do wait_until "echo $line 2>/dev/null >>'$C/2/orders/0'"; done
    wait_until '[ "$(sort -nu "$C/1/orders/0" | paste -sd" ")" = "$(seq -s" " 20)" ]'
    is "$(lines 1 'runs twice')" 1
    at_most "$(lines 1 'peer 2 ')" 11
    at_most "$(grep -c 'peer 1 ' "$C/log/2")" 11
    stop_by_hand
}

# It listens where the others do not look for it: they would meet it.
@test "two ids of a list that were exchanged are said by the node that has it, and by those it takes for each other" {
    start_cluster 3
    wait_until 'connected 1 3 && connected 2 3'
    cluster stop "$C" 3
    forget_logs
    start_by_hand 3 "id=3,peer=1@10.44.0.2:9440,peer=2@10.44.0.1:9440,peer=3@10.44.0.3:9441,listen=10.44.0.3:9441,tls.cert=$C/tls/node-3.crt,tls.key=$C/tls/node-3.key"
    for node in 1 2; do
        wait_until "grep -q 'peer $node (.*does not name node-$node.logmnt: correct the peer= list' '$C/log/by_hand'"
    done
    for node in 1 2; do
        wait_until "logged $node 'ended it behind the TLS handshake: does it take this node for another one?'"
    done
    not grep -q 'peer 3 .*connected' "$C/log/1" "$C/log/2"
    stop_by_hand
}
