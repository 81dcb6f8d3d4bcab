# tests/demo/access_log.awk: a web server's access log, the same bytes on every machine and from every awk.
#
#   awk -v lines=1000000 -f access_log.awk
#
# The random numbers are the minimal standard generator's (Park and Miller: 16807, 2^31 - 1) from a fixed seed; its
# products stay below 2^53, so that any awk's floating point numbers hold them exactly.
function below(n) {
    seed = (seed * 16807) % 2147483647
    return seed % n
}

BEGIN {
    seed = 20261122
    paths = split("/ /index.html /style.css /app.js /logo.svg /search?q=log /cart /cart/add /checkout /login /logout " \
                  "/api/orders /api/orders/new /api/users/me /api/health /robots.txt /favicon.ico /about.html", path)
    agents = split("Mozilla/5.0|curl/7.88.1|Googlebot/2.1|Python-urllib/3.11|Wget/1.21.3", agent, "|")
    for (second = 0; second < 86400; second++)
        clock[second] = sprintf("%02d:%02d:%02d", second / 3600, second / 60 % 60, second % 60)
    for (i = 0; i < lines; i++) {
        a = below(256)
        b = below(256)
        c = below(256)
        method = below(10) ? "GET" : "POST"
        where = path[1 + below(paths)]
        kind = below(100)
        status = kind < 90 ? 200 : kind < 94 ? 304 : kind < 98 ? 404 : kind < 99 ? 302 : 500
        size = 200 + below(50000)
        printf "10.%d.%d.%d - - [22/Nov/2026:%s +0000] \"%s %s HTTP/1.1\" %d %d \"-\" \"%s\"\n", a, b, c,
            clock[int(i * 86400 / lines)], method, where, status, size, agent[1 + below(agents)]
    }
}
