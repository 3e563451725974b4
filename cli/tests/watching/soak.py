"""Reads a relay's metrics as Prometheus does, by its own client's parser: every second for as long
as it is told, and then, on a line to its standard input, until what came in has been dealt with to
the packet. Prints what it found; an exception is a failure."""

import sys
import time
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse

url, seconds = sys.argv[1], int(sys.argv[2])
before = {}


def look():
    answer = urllib.request.urlopen(url)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    samples, counts = {}, set()
    for family in parse(answer.read().decode()):
        for sample in family.samples:
            key = (sample.name, *sorted(sample.labels.items()))
            assert key not in samples, key
            samples[key] = sample.value
            if family.type in ("counter", "histogram"):
                counts.add(key)
    assert not before or samples.keys() == before.keys(), "series come or go"
    for key in counts:
        assert samples[key] >= before.get(key, 0), (key, before[key], samples[key])
    before.update(samples)


def total(name):
    return sum(value for key, value in before.items() if key[0] == name)


def ended():
    return sum(total(f"waylane_{what}_packets_total") for what in ("forwarded", "consumed", "dropped"))


for _ in range(seconds):
    look()
    time.sleep(1)
print("read", seconds, "times:", len(before), "series", flush=True)

sys.stdin.readline()
end, last = time.monotonic() + 30, None
while last != (last := total("waylane_received_packets_total")) or last != ended():
    assert time.monotonic() < end, before
    time.sleep(0.5)
    look()
assert total("waylane_batch_packets_sum") == last
print("received", int(last), "and as many ended:", int(ended()))
