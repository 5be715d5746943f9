// The limit of HDF5 work on a machine: the chunks of a dataset decoded and encoded in memory by all its cores, with no
// file, index or process between. Prints MB/s of decoded data as JSON; the median of some turns.
//   bench_codec FILE DATASET [TURNS]
#include <hdf5.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "runrig/engine/machine.hpp"
#include "runrig/hdf5/codec.hpp"
#include "runrig/hdf5/dataset.hpp"

namespace {

using namespace runrig;

struct Chunk {
  std::vector<std::byte> stored;
  std::uint32_t mask = 0;
};

std::vector<Chunk> read_chunks(const char* file, const char* path, const hdf5::Dataset& dataset) {
  const hid_t opened = H5Fopen(file, H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t id = H5Dopen2(opened, path, H5P_DEFAULT);
  const auto starts = dataset.stored_chunks(std::size_t{1} << 16);
  if (!starts) std::exit((std::fprintf(stderr, "%s: not a chunked dataset of at most 65536 chunks\n", path), 1));
  std::vector<Chunk> chunks;
  for (const Shape& start : *starts) {
    hsize_t at[H5S_MAX_RANK] = {};
    std::copy(start.begin(), start.end(), at);
    hsize_t bytes = 0;
    H5Dget_chunk_storage_size(id, at, &bytes);
    Chunk& chunk = chunks.emplace_back();
    chunk.stored.resize(bytes);
    H5Dread_chunk(id, H5P_DEFAULT, at, &chunk.mask, chunk.stored.data());
  }
  H5Dclose(id);
  H5Fclose(opened);
  return chunks;
}

/// Seconds that all threads take for all chunks; `make` gives each thread what it does with one.
double timed(std::size_t chunks, const std::function<std::function<void(std::size_t)>()>& make) {
  std::atomic<std::size_t> next{0};  // relaxed: only the number must be unique
  std::atomic<bool> go{false};       // release and acquire: threads begin when all is made
  std::vector<std::thread> threads;
  for (int i = 0; i < usable_cpu_count(); ++i) {
    threads.emplace_back([&] {
      const auto work = make();
      while (!go.load(std::memory_order_acquire)) std::this_thread::yield();
      for (std::size_t k = next.fetch_add(1, std::memory_order_relaxed); k < chunks;
           k = next.fetch_add(1, std::memory_order_relaxed)) {
        work(k);
      }
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // time enough to make it
  const auto begin = std::chrono::steady_clock::now();
  go.store(true, std::memory_order_release);
  for (std::thread& each : threads) each.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "usage: bench_codec FILE DATASET [TURNS]\n"), 2;
  const int turns = argc > 3 ? std::max(1, std::atoi(argv[3])) : 5;
  const auto file = hdf5::File::open(argv[1]);
  const auto dataset = hdf5::Dataset::open(file, argv[2]);
  const auto& info = dataset.info();
  const std::size_t item = info.type.item_bytes;
  const std::size_t chunk_bytes = *info.chunk.checked_bytes(item);
  const std::vector<Chunk> chunks = read_chunks(argv[1], argv[2], dataset);
  const auto decode = [&](hdf5::ChunkDecoder& decoder, const Chunk& chunk, std::vector<std::byte>& stored,
                          std::vector<std::byte>& out) {
    stored = chunk.stored;  // a decoder may change what it is given
    decoder.decode(stored, chunk.mask, out, "chunk");
  };
  const auto measure = [&](bool decodes, const char* filters) {
    std::vector<double> times;
    for (int turn = 0; turn < turns; ++turn) {
      times.push_back(timed(chunks.size(), [&]() -> std::function<void(std::size_t)> {
        struct State {
          hdf5::ChunkDecoder decoder;
          hdf5::ChunkEncoder encoder;
          std::vector<std::byte> stored, plain;
        };
        auto state = std::make_shared<State>(State{hdf5::ChunkDecoder(info.filters, item),
                                                   hdf5::ChunkEncoder(hdf5::parse_filters(filters), item),
                                                   {},
                                                   std::vector<std::byte>(chunk_bytes)});
        if (!decodes && !chunks.empty()) decode(state->decoder, chunks[0], state->stored, state->plain);
        return [&, state, decodes, encodes = *filters != '\0'](std::size_t k) {
          if (decodes) decode(state->decoder, chunks[k], state->stored, state->plain);
          if (encodes) (void)state->encoder.encode(state->plain);
        };
      }));
    }
    std::nth_element(times.begin(), times.begin() + turns / 2, times.end());
    const double median = times[static_cast<std::size_t>(turns) / 2];
    return static_cast<double>(chunks.size()) * static_cast<double>(chunk_bytes) / median / 1e6;
  };
  std::printf("{\"cpus\": %d, \"chunks\": %zu, \"decode\": %.0f", usable_cpu_count(), chunks.size(), measure(true, ""));
  std::printf(", \"encode_deflate4\": %.0f, \"encode_fast\": %.0f", measure(false, "shuffle,deflate:4"),
              measure(false, "shuffle,deflate:fast"));
  std::printf(", \"recode_deflate4\": %.0f, \"recode_fast\": %.0f}\n", measure(true, "shuffle,deflate:4"),
              measure(true, "shuffle,deflate:fast"));
  return 0;
}
