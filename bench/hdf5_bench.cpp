// The part of bench/hdf5 that is no command: the limits of a machine, and arrays read into shared memory. Prints JSON;
// MB/s and GB/s are those of decoded values.
//   bench_hdf5 limit FILE DATASET           its chunks decoded, computed and encoded in memory by all cores, with no
//                                           file, index or process between; and what these cores read from memory
//   bench_hdf5 read FILE DATASET TURNS      into a new array, and into one that is kept
//   bench_hdf5 stats FILE DATASET TURNS     in one session, whose workers are there
//   bench_hdf5 write DIRECTORY MIB          a file written and synced
#include <fcntl.h>
#include <hdf5.h>
#include <unistd.h>

#include <Eigen/Core>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "runrig/batch/arrays.hpp"
#include "runrig/batch/session.hpp"
#include "runrig/engine/machine.hpp"
#include "runrig/hdf5/codec.hpp"
#include "runrig/hdf5/dataset.hpp"

namespace {

using namespace runrig;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

int fail(const char* what) { return std::fprintf(stderr, "bench_hdf5: %s\n", what), 1; }

double cpu_now() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

struct Seconds {
  double wall = 0;
  double cpu = 0;
};

/// What all cores take for `count` pieces of work; `make` gives each thread what it does with one.
Seconds timed(std::size_t count, const std::function<std::function<void(std::size_t)>()>& make) {
  std::atomic<std::size_t> next{0};  // relaxed: only the number must be unique
  std::atomic<int> ready{0};         // release and acquire, as `go`: threads begin when all is made
  std::atomic<bool> go{false};
  std::vector<std::thread> threads;
  const int cores = usable_cpu_count();
  threads.reserve(static_cast<std::size_t>(cores));
  for (int i = 0; i < cores; ++i) {
    threads.emplace_back([&] {
      const auto work = make();
      ready.fetch_add(1, std::memory_order_release);
      while (!go.load(std::memory_order_acquire)) std::this_thread::yield();
      for (std::size_t k = next.fetch_add(1, std::memory_order_relaxed); k < count;
           k = next.fetch_add(1, std::memory_order_relaxed)) {
        work(k);
      }
    });
  }
  while (ready.load(std::memory_order_acquire) < cores) std::this_thread::yield();
  const double begin = now();
  const double cpu_begin = cpu_now();
  go.store(true, std::memory_order_release);
  for (std::thread& each : threads) each.join();
  return {now() - begin, cpu_now() - cpu_begin};
}

struct Chunk {
  std::vector<std::byte> stored;
  std::uint32_t mask = 0;
};

std::vector<Chunk> read_chunks(const char* file, const char* path, const hdf5::Dataset& dataset) {
  const hid_t opened = H5Fopen(file, H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t id = H5Dopen2(opened, path, H5P_DEFAULT);
  const auto starts = dataset.stored_chunks(std::size_t{1} << 16);
  if (!starts) std::exit(fail("not a chunked dataset of at most 65536 chunks"));
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

/// What is done with a decoded chunk.
struct Work {
  bool computes = false;
  const char* filters = nullptr;  // encoded with these; null: not at all
};

/// The chunks of float32 decoded, and worked on, by all cores.
Seconds work_on(const std::vector<Chunk>& chunks, const hdf5::DatasetInfo& info, const Work& work) {
  const std::size_t item = info.type.item_bytes;
  const std::size_t chunk_bytes = *info.chunk.checked_bytes(item);
  return timed(chunks.size(), [&]() -> std::function<void(std::size_t)> {
    struct State {
      hdf5::ChunkDecoder decoder;
      hdf5::ChunkEncoder encoder;
      std::vector<std::byte> stored, plain;
    };
    const auto filters = work.filters != nullptr ? hdf5::parse_filters(work.filters) : std::vector<hdf5::FilterInfo>{};
    auto state =
        std::make_shared<State>(State{hdf5::ChunkDecoder(info.filters, item), hdf5::ChunkEncoder(filters, item),
                                      std::vector<std::byte>(chunk_bytes), std::vector<std::byte>(chunk_bytes)});
    return [&chunks, &work, state](std::size_t k) {
      const Chunk& chunk = chunks[k];
      state->stored = chunk.stored;  // a decoder may change what it is given
      state->decoder.decode(state->stored, chunk.mask, state->plain, "chunk");
      if (work.computes) {
        Eigen::Map<Eigen::ArrayXf> x(reinterpret_cast<float*>(state->plain.data()),
                                     static_cast<Eigen::Index>(state->plain.size() / sizeof(float)));
        x = (x * x + 1.0F).sqrt();
      }
      if (work.filters != nullptr) (void)state->encoder.encode(state->plain);
    };
  });
}

/// GB/s at which all cores read memory.
double read_bandwidth() {
  constexpr std::size_t pieces = 1024;
  constexpr std::size_t words = std::size_t{1} << 16;
  const std::vector<std::uint64_t> memory(pieces * words, 1);
  std::atomic<std::uint64_t> total{0};  // relaxed: a number by itself
  std::vector<double> times;
  constexpr int turns = 5;
  times.reserve(turns);
  for (int turn = 0; turn < turns; ++turn) {
    times.push_back(timed(pieces, [&]() -> std::function<void(std::size_t)> {
                      return [&](std::size_t k) {
                        using Words = Eigen::Map<const Eigen::Array<std::uint64_t, Eigen::Dynamic, 1>>;
                        total.fetch_add(Words(memory.data() + k * words, words).sum(), std::memory_order_relaxed);
                      };
                    }).wall);
  }
  if (total.load(std::memory_order_relaxed) != 5 * pieces * words) std::exit(fail("a wrong sum"));
  return static_cast<double>(memory.size() * sizeof(std::uint64_t)) / median(times) / 1e9;
}

int limit(const char* path, const char* name) {
  const auto file = hdf5::File::open(path);
  const auto dataset = hdf5::Dataset::open(file, name);
  const auto& info = dataset.info();
  if (info.type.numpy != "<f4") return fail("not a dataset of float32");
  const std::vector<Chunk> chunks = read_chunks(path, name, dataset);
  const double megabytes = static_cast<double>(chunks.size() * *info.chunk.checked_bytes(4)) / 1e6;
  const std::pair<const char*, Work> works[] = {{"decode", {}},
                                                {"repack_deflate4", {false, "shuffle,deflate:4"}},
                                                {"repack_fast", {false, "shuffle,deflate:fast"}},
                                                {"map_deflate4", {true, "shuffle,deflate:4"}},
                                                {"map_fast", {true, "shuffle,deflate:fast"}}};
  std::printf("{\"cpus\": %d", usable_cpu_count());
  for (const auto& [key, work] : works) {
    const Seconds seconds = work_on(chunks, info, work);
    std::printf(R"(, "%s": %.0f, "%s_cpu": %.3f)", key, megabytes / seconds.wall, key, seconds.cpu);
  }
  std::printf(", \"memory\": %.0f}\n", read_bandwidth() * 1e3);
  return 0;
}

double megabytes(const AnyArrayRef& array) {
  return static_cast<double>(array.shape.elements() * item_bytes(array.dtype)) / 1e6;
}

int read(const char* path, const char* name, int turns) {
  batch::Session session;
  AnyArray kept = read_any_array(session, path, name);
  const double size = megabytes(kept.ref());
  std::vector<double> fresh;
  std::vector<double> again;
  for (int turn = 0; turn < turns; ++turn) {
    double begin = now();
    {
      AnyArray array = read_any_array(session, path, name);
      fresh.push_back(now() - begin);
      array.unlink();
    }
    begin = now();
    read_into_array(session, path, name, kept.ref());
    again.push_back(now() - begin);
  }
  kept.unlink();
  std::printf("{\"new\": %.0f, \"kept\": %.0f}\n", size / median(fresh), size / median(again));
  return 0;
}

int stats(const char* path, const char* name, int turns) {
  batch::Session session;
  batch::StatsRequest request;
  request.files = {path};
  request.datasets = {hdf5::parse_dataset_ref(name)};
  std::vector<double> speeds;
  for (int turn = -1; turn < turns; ++turn) {  // the first starts the library in the workers
    const double begin = now();
    const auto report = session.stats(request);
    const double seconds = now() - begin;
    if (report.results.size() != 1) return fail("no statistics");
    const auto& result = report.results[0];
    const double size = static_cast<double>(result.shape.elements() * item_bytes(result.statistics.dtype)) / 1e6;
    if (turn >= 0) speeds.push_back(size / seconds);
  }
  std::printf("{\"session\": %.0f}\n", median(speeds));
  return 0;
}

int write(const char* directory, std::size_t mebibytes) {
  const std::string path = std::string(directory) + "/bench_hdf5.tmp";
  std::vector<std::uint64_t> piece(std::size_t{1} << 17);
  std::mt19937_64 random(1);
  std::ranges::generate(piece, random);
  const int fd = ::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  if (fd == -1) return fail("cannot create a file in the directory");
  const double begin = now();
  bool good = true;
  for (std::size_t i = 0; i < mebibytes && good; ++i) {
    good = ::write(fd, piece.data(), std::size_t{1} << 20) == ssize_t{1} << 20;
    // At once, so that the disk is busy while the next is written.
    ::sync_file_range(fd, static_cast<off_t>(i << 20), off_t{1} << 20, SYNC_FILE_RANGE_WRITE);
  }
  good = ::fsync(fd) == 0 && good;
  const double seconds = now() - begin;
  ::close(fd);
  ::unlink(path.c_str());
  if (!good) return fail("cannot write the file");
  std::printf("{\"write\": %.0f}\n", static_cast<double>(mebibytes << 20) / 1e6 / seconds);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 3 ? argv[1] : "";
  const int number = argc > 4 ? std::max(1, std::atoi(argv[4])) : 5;
  try {
    if (what == "limit") return limit(argv[2], argv[3]);
    if (what == "read") return read(argv[2], argv[3], number);
    if (what == "stats") return stats(argv[2], argv[3], number);
    if (what == "write") return write(argv[2], static_cast<std::size_t>(std::max(1, std::atoi(argv[3]))));
  } catch (const std::exception& error) {
    return fail(error.what());
  }
  std::fprintf(stderr, "usage: bench_hdf5 limit|read|stats FILE DATASET [TURNS], or write DIRECTORY MIB\n");
  return 2;
}
