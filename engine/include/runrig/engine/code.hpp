#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

/// Names for code that another process of the same program understands, whatever its address layout.
///
/// Code is named by the module (program or shared library) that holds it and the place in it. What may be called by
/// name is entered in a table by its own module, when that is loaded; a name from elsewhere than this table is refused.
/// Names are only accepted between a parent and its children, over channels that nobody else has.
namespace runrig::detail {

/// A place in a module. Trivially copyable: its bytes may travel.
struct CodeRef {
  /// The build id that the linker gave the module (folded where it has more than 20 bytes). Of a module linked without
  /// one (--build-id=none): a hash of its program headers and constant segments, which hold symbols, unwind tables and
  /// constants, and so change with the code; not of the code itself, into which a debugger may write.
  /// All zero: names nothing.
  std::array<std::uint8_t, 20> module{};
  /// From the module's load address, in bytes.
  std::uint64_t offset = 0;
  [[nodiscard]] explicit operator bool() const noexcept { return module != std::array<std::uint8_t, 20>{}; }
  friend bool operator==(const CodeRef&, const CodeRef&) = default;
};
static_assert(std::is_trivially_copyable_v<CodeRef> && sizeof(CodeRef) == 32, "lies in shared memory");

/// What an entry of the table is for. An entry is only ever found as what it is.
enum class CodeKind : std::uint32_t { call = 1, kernel };

/// An entry of the table, with static storage in the module whose code it names. Its own place, not that of its
/// function, is the name: linkers fold functions of the same code into one, but never variables.
class CodeEntry {
 public:
  explicit constexpr CodeEntry(CodeKind kind) noexcept : kind_(kind) {}
  CodeEntry(const CodeEntry&) = delete;
  CodeEntry& operator=(const CodeEntry&) = delete;

  [[nodiscard]] CodeKind kind() const noexcept { return kind_; }
  /// The name of this entry. Cheap after the first time. Any thread.
  [[nodiscard]] CodeRef code() const;

 private:
  friend class CodeTable;
  const CodeKind kind_;
  // Guarded by the table's mutex.
  CodeEntry* next_ = nullptr;
  CodeEntry* previous_ = nullptr;
  int registrations_ = 0;
  // The name, once somebody asked for it: 0 not known, 1 being written, 2 there.
  mutable std::atomic<std::uint32_t> code_state_{0};
  mutable CodeRef code_{};
};

/// Enters `entry` in the table for its own lifetime: a static object of the same module, so from the module's loading
/// to its unloading. The table's head is constant-initialised: the order of static initialisation does not matter.
class CodeRegistration {
 public:
  explicit CodeRegistration(CodeEntry& entry);
  CodeRegistration(const CodeRegistration&) = delete;
  CodeRegistration& operator=(const CodeRegistration&) = delete;
  ~CodeRegistration();

 private:
  CodeEntry& entry_;
};

/// The entry of that name and kind in this process. Throws FormatError if the table has no such entry; it says whether
/// the module is missing (not loaded yet in this process, or of another build). Any thread; some 50 ns.
[[nodiscard]] const CodeEntry& find_code(const CodeRef& code, CodeKind kind);

/// Does now what the first search would have to do: for a process whose copies will search.
void prepare_to_find_code();

/// The name of a function, for plain function pointers as callables. Throws std::logic_error if the address is not in
/// an executable segment of a module (generated code, for one).
[[nodiscard]] CodeRef function_ref(std::uintptr_t function);
/// The address, in this process, of what function_ref() named. Throws FormatError as find_code() does, and if the place
/// is not in an executable segment of that module.
[[nodiscard]] std::uintptr_t resolve_function(const CodeRef& code);

}  // namespace runrig::detail
