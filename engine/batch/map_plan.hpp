#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>

#include "journal.hpp"
#include "runrig/engine/launch.hpp"
#include "runrig/shm/view.hpp"
#include "worker.hpp"

/// What `map` tells its workers: plain values in the arena, which live as long as the launches that use them.
namespace runrig::batch {

struct MapVariable {
  Source source;
  DType dtype = DType::float64;
  bool scalar = false;     // one element for all of the result's
  bool in_memory = false;  // not in a file, but this array:
  ArrayHandle array;
};

/// One output.
struct MapPlan {
  std::uint64_t id = 0;  // no other plan of the session has it: what workers keep of a plan, they keep by it
  const MapVariable* variables = nullptr;  // in the order of the expression's variables
  std::uint32_t variable_count = 0;
  std::span<const std::byte> code;  // of the program
  std::size_t program_scratch = 0;
  std::span<const std::byte> spec;  // pickled OutputSpec
  const char* temporary = nullptr;  // the file being written
  const char* dataset = nullptr;    // in it
  // For the writer: where attributes and dimension scales come from; null for nowhere.
  const char* like_file = nullptr;
  const char* like_dataset = nullptr;
  hdf5::Selection like_selection;
  // Contiguous output: where its elements lie; set once the writer has made the file.
  std::uint64_t offset = 0;
  std::size_t data_bytes = 0;  // private memory that a worker may use beyond its own
  std::atomic<std::uint64_t>* bytes_done = nullptr;
};

/// A piece of the output: what to compute, and the memory for what is then to be placed by the writer.
struct MapTile {
  hdf5::Box box;  // of the result; whole chunks, but for those at the border
  std::byte* memory = nullptr;
  std::size_t memory_bytes = 0;
  std::uint32_t chunks = 0;  // entries at the beginning of `memory`; set by the worker
};
/// An encoded chunk in a tile's memory.
struct ChunkEntry {
  Shape start;
  std::uint64_t offset = 0;  // in the tile's memory
  std::uint64_t bytes = 0;
  std::uint32_t filter_mask = 0;
};

/// Thrown in a writer that does not have the output open: another one had, and was killed.
class OutputGone : public std::runtime_error {
 public:
  OutputGone() : std::runtime_error("the process that wrote the output was killed") {}
};

/// Workers: computes one tile; encodes its chunks into its memory, or writes its elements to their place in the file.
void compute_tile(SliceContext& context, const MapPlan& plan, MapTile& tile);

/// Writer: makes the file with its groups, dataset, attributes and scales. Reports {"offset", "notes"} to the journal.
/// A contiguous output is closed at once, for the workers to fill.
void create_output(const MapPlan& plan, const Journal& journal);
/// Writer: places what the workers made of `tiles`.
void place_tiles(SliceContext& context, const MapPlan& plan, const MapTile* tiles, std::uint32_t count);
/// Writer: completes the file.
void close_output(const MapPlan& plan);
/// Writer: forgets the file, as it is.
void abandon_output();

}  // namespace runrig::batch
