#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <utility>

#include "journal.hpp"
#include "provenance.hpp"
#include "runrig/engine/launch.hpp"
#include "runrig/hdf5/output.hpp"
#include "state.hpp"
#include "variables.hpp"
#include "worker.hpp"

/// What `map` tells its workers: plain values in the arena, which live as long as the launches that use them.
namespace runrig::batch {

/// A named text of the output: an attribute.
struct PlanAttribute {
  const char* name = nullptr;
  const char* text = nullptr;
};

struct KernelPlan;  // user_kernel.hpp

[[nodiscard]] std::size_t attribute_bytes(const TextAttributes& attributes);
[[nodiscard]] std::span<const PlanAttribute> add_attributes(ArenaWriter& memory, const TextAttributes& attributes);

/// One dataset of an output.
struct MapResultPlan {
  std::span<const std::byte> code;  // of the program
  std::size_t program_scratch = 0;
  std::uint32_t kernel_output = 0;        // in place of a program, if the plan has a kernel: which of its outputs
  std::span<const std::uint32_t> inputs;  // the plan's variables, in the order of the program's
  std::span<const std::byte> spec;        // pickled OutputSpec
  const char* dataset = nullptr;
  // For the writer: where attributes and dimension scales come from; null for nowhere.
  const char* like_file = nullptr;
  const char* like_dataset = nullptr;
  hdf5::Selection like_selection;
  std::span<const PlanAttribute> attributes;
  // Contiguous output: where its elements lie; set once the writer has made the file.
  std::uint64_t offset = 0;
};

/// Datasets that are made in one pass over their variables: of one shape, in the same chunks or all contiguous.
struct MapPlan {
  std::uint64_t id = 0;  // no other plan of the session has it: what workers keep of a plan, they keep by it
  VariablesPlan variables;
  MapResultPlan* results = nullptr;
  std::uint32_t result_count = 0;
  const KernelPlan* kernel = nullptr;  // makes all results, in place of programs
  const char* temporary = nullptr;     // the file being written
  std::size_t data_bytes = 0;          // private memory that a worker may use beyond its own
  std::atomic<std::uint64_t>* bytes_done = nullptr;
};

/// One output file.
struct FilePlan {
  std::uint64_t id = 0;  // as above, for what the writer has open
  const MapPlan* passes = nullptr;
  std::uint32_t pass_count = 0;
  const char* temporary = nullptr;
};

/// A piece of the output: what to compute, and the memory for what is then to be placed by the writer.
struct MapTile {
  hdf5::Box box;  // of the result; whole chunks, but for those at the border
  std::byte* memory = nullptr;
  std::size_t memory_bytes = 0;
  std::uint32_t chunks = 0;     // entries at the beginning of `memory`; set by the worker
  std::uint32_t in_kernel = 0;  // the worker is in the user's kernel; read by the parent after its death
  std::uint32_t made = 0;       // see TileQueue
};
class TileQueue;
/// An encoded chunk in a tile's memory; where the library encodes, all the tile's elements of one result.
struct ChunkEntry {
  Shape start;
  std::uint64_t offset = 0;  // in the tile's memory
  std::uint64_t bytes = 0;
  std::uint32_t filter_mask = 0;
  std::uint32_t result = 0;  // of the plan
};

/// Thrown in a writer that does not have the output open: another one had, and was killed.
class OutputGone : public std::runtime_error {
 public:
  OutputGone() : std::runtime_error("the process that wrote the output was killed") {}
};

/// Fills a tile's memory: entries in front, the bytes behind them.
class TileWriter {
 public:
  /// For `entries` entries at most.
  TileWriter(MapTile& tile, std::size_t entries);
  /// Where the bytes of the next entry go: what lies at its beginning already is not copied.
  [[nodiscard]] std::span<std::byte> room() const noexcept {
    return {tile_.memory + used_, static_cast<std::size_t>(tile_.memory_bytes - used_)};
  }
  void add(const Shape& start, std::span<const std::byte> bytes, std::uint32_t filter_mask, std::uint32_t result);

 private:
  MapTile& tile_;
  std::size_t used_;
};

/// Calls `visit(start)` for the first coordinates of each chunk that begins in `box`, in C order.
template <class Visit>
void for_each_chunk(const hdf5::Box& box, const Shape& chunk, Visit&& visit) {
  Shape start = box.start;
  for (;;) {
    visit(std::as_const(start));
    std::size_t axis = chunk.rank();
    for (;;) {
      if (axis == 0) return;
      --axis;
      start[axis] += chunk[axis];
      if (start[axis] < box.start[axis] + box.count[axis]) break;
      start[axis] = box.start[axis];
    }
  }
}
[[nodiscard]] std::size_t count_chunks(const hdf5::Box& box, const Shape& chunk);

/// Workers: computes one tile; encodes its chunks into its memory, or writes its elements to their place in the file.
void compute_tile(SliceContext& context, const MapPlan& plan, MapTile& tile);

/// Writer: makes the file with its groups, datasets, attributes and scales. Reports {"offsets", "notes"} to the
/// journal: an offset or None for each result, pass by pass.
void create_output(const FilePlan& file, const Journal& journal);
/// A small output file, made by one worker from its beginning to its end.
struct SmallPass {
  MapTile* tiles = nullptr;  // of which the memory is the worker's own
  std::uint32_t count = 0;
};
struct SmallOutputPlan {
  const FilePlan* file = nullptr;
  const SmallPass* passes = nullptr;
};
/// Worker: makes the output of a SmallOutputPlan, as a SmallBody does. Reports as create_output().
void make_small_output(SliceContext& context, const void* small_output_plan, const Journal& journal);

/// Writer: places what the workers make of the tiles.
void place_tiles(SliceContext& context, const FilePlan& file, const MapPlan& plan, TileQueue& queue);
/// Writer: keeps an output open for place_tiles() and close_output(), in place of what it had open.
void hold_output(std::uint64_t file_id, hdf5::OutputFile output);
/// Writer: completes the file, but for the elements of contiguous datasets, which others write behind it.
void close_output(const FilePlan& file);
/// Writer: forgets the file, as it is.
void abandon_output();

}  // namespace runrig::batch
