#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "runrig/channel/object.hpp"

/// Python's pickles, as a safe subset: numbers, strings, bytes, containers, dates and times, exceptions of the standard
/// library, and NumPy's arrays, scalars and dtypes.
///
/// Reading never runs code. Opcodes and globals are closed sets: a global that is not in our table is an error that
/// names it, whatever a stream would do with it. What Python's own pickle module writes for these types, in protocols
/// 0 to 5, is read; what we write, Python reads.
namespace runrig::pickle {

/// What a stream may cost its reader. Checked before anything is allocated.
struct Limits {
  /// The stream itself.
  std::size_t max_bytes = std::size_t{1} << 30;
  /// Memory for objects, stack and memo (as many places as this pays for) beyond the stream's own bytes. One byte of a
  /// hostile stream can ask for a hundred, so this bounds what such a stream gets; an honest list needs about 32 bytes
  /// an element.
  std::size_t max_memory = std::size_t{48} << 20;
  /// Containers within containers.
  std::size_t max_depth = 1000;
  /// Named in errors.
  std::string_view source = "pickle";
};

/// Reads one pickle, which must fill `bytes` exactly.
///
/// Parts that the pickle shares are shared in the result. Where a container is inside itself, the inner mention is a
/// back reference: valid while the outer one is (see Object::back_reference()).
/// `buffers` are what came beside it, in order (see dumps()): arrays share them and keep their owners.
/// Throws FormatError; it says at which byte, and what is wrong.
[[nodiscard]] Object loads(std::span<const std::byte> bytes, const Limits& limits = {},
                           std::span<const Buffer> buffers = {});

/// Reads the pickle that `bytes` begins with; also returns its length. For pickles that follow one another.
[[nodiscard]] std::pair<Object, std::size_t> load_first(std::span<const std::byte> bytes, const Limits& limits = {},
                                                        std::span<const Buffer> buffers = {});

inline constexpr int default_protocol = 5;

/// Writes `object` in protocol 2, 3, 4 or 5. Values that are shared in it are shared in the pickle.
///
/// With `buffers`, the bytes of arrays are not copied into the pickle but added there, to travel beside it, as with
/// Python's buffer_callback; the reader gives them to loads(), or to Python's pickle.loads(buffers=...). Protocol 5
/// only. Throws std::logic_error for another protocol; Error: illegal_byte_sequence (a string that is not UTF-8, see
/// escape_text()), value_too_large (containers nested deeper than Limits{}.max_depth).
[[nodiscard]] std::vector<std::byte> dumps(const Object& object, int protocol = default_protocol,
                                           Buffers* buffers = nullptr);
/// The same, added at the end of `out`, so that its memory can be used again. `out` and `buffers` are as before if this
/// throws.
void dumps_to(std::vector<std::byte>& out, const Object& object, int protocol = default_protocol,
              Buffers* buffers = nullptr);

}  // namespace runrig::pickle
