#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "early_sync.hpp"
#include "library.hpp"
#include "memory_file.hpp"
#include "runrig/hdf5/output.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig::hdf5 {

struct OutputFile::State {
  struct OpenDataset {
    detail::Id id;
    OutputSpec spec;
  };
  /// A dimension scale made here: further axes that are cut the same way, of any dataset, share it.
  struct MadeScale {
    std::string source_file;
    std::string source_path;
    AxisSelection axis;
    detail::Id id;
  };
  std::string path;
  UniqueFd fd;                               // our own, for the sync; the library has another
  std::optional<detail::MemoryFile> memory;  // where the file is made, if not on the disk
  detail::Id file;
  std::map<std::string, OpenDataset> datasets;
  std::vector<MadeScale> scales;
  std::size_t begun_bytes = 0;   // of chunks, since the last early sync
  detail::EarlySync early_sync;  // ends before the fd does

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State();

  [[nodiscard]] OpenDataset& dataset(const std::string& name);
  [[nodiscard]] std::string name_of(const std::string& object) const;
  /// Writes beside the library.
  void put(std::span<const std::byte> bytes, std::uint64_t at);
  /// From memory to the disk.
  void write_memory();
};

namespace detail {

/// Copies the attributes between open objects; see OutputFile::copy_attributes().
void copy_object_attributes(hid_t source, std::string_view source_name, hid_t target, std::optional<DType> result,
                            std::span<const std::string> dropped, std::vector<std::string>& notes);
/// Adds a filter to a dataset's creation properties.
void add_filter(hid_t properties, const FilterInfo& filter, const std::string& name);
/// Properties of datasets and groups whose attributes keep their order; `kind` is H5P_DATASET_CREATE or such.
[[nodiscard]] Id ordered_creation(hid_t kind);
/// Link properties that make the groups on the way.
[[nodiscard]] Id intermediate_groups();

}  // namespace detail
}  // namespace runrig::hdf5
