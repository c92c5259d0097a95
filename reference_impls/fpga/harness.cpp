// Source, sink and watcher of one run of a verilated unit: the twin of the bench in simulate.py, cycle for cycle.
// Reads the stimulus from standard input and writes what moved to standard output; verilated.py knows both layouts.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

namespace {

enum Status : uint64_t { kDone, kFollowsReady, kNotHeld, kOneTooMany, kStuck };

using Bytes = std::vector<uint8_t>;

struct Header {
  uint64_t beats, input_bytes, expected, output_bytes, patience, surplus, hold_input, hold_output, restart;
};

struct Result {
  uint64_t status, cycle, taken, emitted, first_valid;
};

// A port of up to 64 bits is an integer, a wider one an array; both hold the beat little endian.
template <typename Wires>
void set(Wires& port, const uint8_t* beat, size_t bytes) {
  std::memset(&port, 0, sizeof port);
  std::memcpy(&port, beat, bytes);
}

template <typename Wires>
Bytes get(const Wires& port, size_t bytes) {
  Bytes beat(bytes);
  std::memcpy(beat.data(), &port, bytes);
  return beat;
}

Bytes read(uint64_t bytes) {
  Bytes data(bytes);
  if (std::fread(data.data(), 1, bytes, stdin) != bytes) std::exit(2);
  return data;
}

void tick(Vtop& top) {
  top.clk = 1;
  top.eval();
  top.clk = 0;
}

// Start a frame, then reset: what the reset forgets will show in the outputs.
void restart(Vtop& top, const Header& header, const Bytes& input) {
  top.m_axis_tready = 1;
  top.s_axis_tvalid = 1;
  for (uint64_t cycle = 0, beat = 0; cycle < header.restart; ++cycle) {
    set(top.s_axis_tdata, &input[beat % header.beats * header.input_bytes], header.input_bytes);
    top.eval();
    beat += top.s_axis_tready;
    tick(top);
  }
  top.s_axis_tvalid = 0;
  top.m_axis_tready = 0;
  top.rst = 1;
  top.eval();
  tick(top);
  top.rst = 0;
}

}  // namespace

int main() {
  Header header;
  if (std::fread(&header, sizeof header, 1, stdin) != 1) return 2;
  const Bytes input = read(header.beats * header.input_bytes);
  const Bytes holds = read(header.hold_input), stops = read(header.hold_output);

  VerilatedContext context;
  Vtop top{&context};
  top.clk = 0;
  top.rst = 0;
  top.s_axis_tvalid = 0;
  top.m_axis_tready = 0;
  top.eval();
  if (header.restart) restart(top, header, input);

  std::vector<uint64_t> taken, emitted;
  Bytes output, held;
  bool offered = false, ready = false, stopped = false;
  Result result{kDone, 0, 0, 0, UINT64_MAX};
  for (uint64_t cycle = 0, moved = 0;; ++cycle) {
    result.cycle = cycle;
    if (!offered && taken.size() < header.beats && !holds[cycle % holds.size()]) {
      offered = true;
      set(top.s_axis_tdata, &input[taken.size() * header.input_bytes], header.input_bytes);
    }
    top.s_axis_tvalid = offered;
    top.eval();
    const bool valid = top.m_axis_tvalid;
    const Bytes payload = get(top.m_axis_tdata, header.output_bytes);
    if (ready == static_cast<bool>(stops[cycle % stops.size()])) {
      ready = !ready;
      top.m_axis_tready = ready;
      top.eval();
      if (top.m_axis_tvalid != valid || (valid && get(top.m_axis_tdata, header.output_bytes) != payload)) {
        result.status = kFollowsReady;
        break;
      }
    }
    if (stopped && !(valid && payload == held)) {
      result.status = kNotHeld;
      break;
    }
    const bool taking = offered && top.s_axis_tready;
    if (valid) {
      if (result.first_valid == UINT64_MAX) result.first_valid = cycle;
      if (emitted.size() == header.expected) {
        result.status = kOneTooMany;
        break;
      }
    }
    stopped = valid && !ready;
    held = payload;
    if (taking) {
      taken.push_back(cycle);
      offered = false;
      moved = cycle;
    }
    if (valid && ready) {
      emitted.push_back(cycle);
      output.insert(output.end(), payload.begin(), payload.end());
      moved = cycle;
    }
    const bool done = taken.size() == header.beats && emitted.size() == header.expected;
    if (cycle - moved > (done ? header.surplus : header.patience)) {
      if (!done) result.status = kStuck;
      break;
    }
    tick(top);
  }
  top.final();
  result.taken = taken.size();
  result.emitted = emitted.size();
  std::fwrite(&result, sizeof result, 1, stdout);
  std::fwrite(taken.data(), sizeof(uint64_t), taken.size(), stdout);
  std::fwrite(emitted.data(), sizeof(uint64_t), emitted.size(), stdout);
  std::fwrite(output.data(), 1, output.size(), stdout);
  return std::fflush(stdout) == 0 ? 0 : 2;
}
