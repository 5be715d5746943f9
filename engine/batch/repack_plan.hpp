#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "map_plan.hpp"

/// What `repack` tells its workers: plain values in the arena.
namespace runrig::batch {

/// One output file.
struct RepackFilePlan {
  FilePlan file;  // of no pass: the writer makes it from the source
  const char* source = nullptr;
  std::span<const std::byte> options;  // pickled RepackOptions
  // For make_small_repacked():
  std::uint64_t small_bytes = 0;  // of what it recodes, with a chunk of each
  std::size_t max_chunk_bytes = 0;
  std::atomic<std::uint64_t>* bytes_done = nullptr;
};

/// One dataset of it, whose chunks the workers make.
struct RepackPlan {
  MapPlan place;  // for place_tiles(): its one result is the dataset
  Source source;
  std::span<const std::byte> dataset;  // pickled RepackDataset
};

/// Writer: makes the file with all that workers do not make, and keeps it open. Reports {"datasets", "notes"} to the
/// journal.
void create_repacked(SliceContext& context, const RepackFilePlan& plan, const Journal& journal);
/// Writer: reports {"datasets", "notes"} likewise, of all datasets, and makes no file.
void plan_repacked(SliceContext& context, const RepackFilePlan& plan, const Journal& journal);
/// Worker: makes the file of a RepackFilePlan, as a SmallBody does; but reports nothing of one that holds too much.
void make_small_repacked(SliceContext& context, const void* repack_file_plan, const Journal& journal);
/// Workers: encodes the chunks of one tile into its memory, but for those that were never written.
void repack_tile(SliceContext& context, const RepackPlan& plan, MapTile& tile);

}  // namespace runrig::batch
