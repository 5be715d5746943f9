#pragma once

#include <complex>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runrig/channel/decoder.hpp"
#include "runrig/channel/object.hpp"

namespace runrig::pickle::detail {

/// A Decoder's way through an Object: the next value, in the container that was begun last. All throw FormatError.
struct Tree {
  Tree(Object whole, std::string_view name, std::optional<std::size_t> failed_at)
      : root(std::move(whole)), source(name), byte(failed_at) {}

  [[nodiscard]] const Object& take();
  /// The next, which must be of that kind.
  [[nodiscard]] const Object& take(Kind kind);
  [[nodiscard]] bool try_none();
  [[nodiscard]] bool boolean();
  [[nodiscard]] Integer integer();
  [[nodiscard]] BigInt big_int();
  [[nodiscard]] double real();
  [[nodiscard]] std::complex<double> complex();
  [[nodiscard]] std::string_view text();
  [[nodiscard]] std::span<const std::byte> bytes();
  [[nodiscard]] NdBuffer array();

  /// A tuple or list, of that many elements if given.
  void begin_sequence(std::optional<std::size_t> elements);
  void begin_dict();
  void begin_set();
  [[nodiscard]] bool more() const noexcept;
  void end() noexcept { levels.pop_back(); }

  [[noreturn]] void fail(const std::string& why) const;
  [[noreturn]] void fail_kind(std::string_view expected, const Object& found) const;

  struct Level {
    std::span<const Object> items;
    std::span<const Object::Pair> entries;
    bool dict = false;
    std::size_t taken = 0;  // of a dict, two for each entry
  };
  [[nodiscard]] const Object* next() const noexcept;  // null if there is none
  [[nodiscard]] std::string place() const;

  Object root;
  bool root_taken = false;
  std::string_view source;
  std::optional<std::size_t> byte;
  std::vector<Level> levels;
};

}  // namespace runrig::pickle::detail
