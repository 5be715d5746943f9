#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

/// What the dynamic linker has loaded into this process.
namespace runrig::detail {

using ModuleId = std::array<std::uint8_t, 20>;

struct Module {
  struct Range {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    [[nodiscard]] bool contains(std::uintptr_t address) const noexcept { return address >= begin && address < end; }
  };
  std::uintptr_t base = 0;  ///< what is added to the file's addresses
  std::vector<Range> segments;
  std::vector<Range> executable;
  ModuleId id{};  ///< see CodeRef::module

  [[nodiscard]] bool holds(std::uintptr_t address) const noexcept;
  [[nodiscard]] bool has_code_at(std::uintptr_t address) const noexcept;
};

/// How many modules were ever loaded and unloaded: the list is as it was while both are.
struct ModuleCounts {
  std::uint64_t loaded = 0;
  std::uint64_t unloaded = 0;
  friend bool operator==(const ModuleCounts&, const ModuleCounts&) = default;
};
[[nodiscard]] ModuleCounts count_modules() noexcept;

/// The list of modules, read again when it has changed. Not thread-safe.
class Modules {
 public:
  [[nodiscard]] const std::vector<Module>& all();
  /// Null if there is none. Valid until the next call.
  [[nodiscard]] const Module* at(std::uintptr_t address);
  [[nodiscard]] const Module* with_id(const ModuleId& id);

 private:
  void refresh();
  ModuleCounts counts_;
  std::vector<Module> modules_;
};

}  // namespace runrig::detail
