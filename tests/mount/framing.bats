# A change of framing under open files.
load lib

@test "what waits for its newline is no part of an object when the framing changes" {
    mkdir events
    exec 5>>events/0
    printf abc >&5
    set_attr events user.config.framing msgpack
    printf '\x01\x02' >&5
    exec 5>&-
    is "$(od -An -tx1 events/0)" ' 01 02'
    is "$(attr events/0 user.log.high_watermark)" 2
    is "$(wc -l < events/.json/0)" 2
}

@test "an unfinished object is no part of a line when the framing changes" {
    mkdir events
    set_attr events user.config.framing msgpack
    exec 5>>events/0
    printf '\xa4ab' >&5
    set_attr events user.config.framing line
    echo one >&5
    exec 5>&-
    is "$(cat events/0)" one
    is "$(attr events/0 user.log.high_watermark)" 1
}

@test "what waits when the framing changes is dropped at the last close" {
    mkdir events
    exec 5>>events/0
    printf abc >&5
    set_attr events user.config.framing msgpack
    exec 5>&-
    is "$(size events/0)" 0
    is "$(attr events/0 user.log.high_watermark)" 0
}
