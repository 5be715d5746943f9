#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cursor.hpp"
#include "globals.hpp"
#include "key_index.hpp"
#include "runrig/channel/opcodes.hpp"
#include "runrig/channel/pickle.hpp"

namespace runrig::pickle::detail {

/// Pickle's stack machine, for one stream. Its only calls are into Constructor, and nothing in it recurses.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const Limits& limits, std::span<const Buffer> buffers);
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader();

  /// Runs to STOP. Throws Refused; once only.
  [[nodiscard]] Object run();
  [[nodiscard]] std::size_t position() const noexcept { return cursor_.position(); }
  /// Where the operation began that was the last to be read.
  [[nodiscard]] std::size_t operation() const noexcept { return operation_; }

 private:
  void execute(Op op);
  bool execute_number(Op op);
  bool execute_bytes(Op op);
  bool execute_container(Op op);
  bool execute_stack(Op op);

  void push(Object object);
  [[nodiscard]] Object pop();
  [[nodiscard]] const Object& top() const;
  /// The top `count` objects, taken off.
  [[nodiscard]] std::vector<Object> pop_items(std::size_t count);
  /// How many objects lie above the last mark, which is taken off.
  [[nodiscard]] std::size_t pop_mark();
  /// The object below the top `count`, which must be of that kind.
  [[nodiscard]] const Object& below(std::size_t count, Kind kind) const;

  void push_text(std::uint64_t bytes);
  void push_bytes(Kind kind, std::uint64_t bytes);
  void push_old_text(std::string_view text);
  void push_buffer();
  void make_read_only();
  void push_long(std::uint64_t bytes);
  void push_tuple(std::size_t count);
  void push_dict(std::size_t count);
  void push_frozenset(std::size_t count);
  void append(std::size_t count);
  void set_items(std::size_t count);
  void add_items(std::size_t count);
  void push_global(std::string_view module, std::string_view name);
  void stack_global();
  void reduce();
  void new_object();
  void build();
  void put(std::size_t index);
  void get(std::size_t index);
  void share(const Object& object);
  [[nodiscard]] Object finish();

  Cursor cursor_;
  Limits limits_;
  Budget budget_;
  KeyHasher hasher_;
  Constructor constructor_;
  std::vector<Object> stack_;
  std::vector<std::size_t> marks_;  // heights of the stack
  std::vector<std::optional<Object>> memo_;
  std::size_t memo_count_ = 0;
  std::span<const Buffer> buffers_;  // not taken yet
  std::vector<Object> shared_;       // containers that were fetched or doubled: only these can be inside themselves
  std::size_t operation_ = 0;
};

/// Looks through all that `root` holds: throws Refused if containers are nested deeper than `max_depth` or a class or
/// function stands where a value should be. Turns each handle by which a container is inside itself into a back
/// reference.
void settle(const Object& root, std::size_t max_depth);

}  // namespace runrig::pickle::detail
