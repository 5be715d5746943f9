#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "file_state.hpp"
#include "library.hpp"

/// Elements of any type from one file to another, through the library.
namespace runrig::hdf5::detail {

/// What a type has in it, at any depth.
struct TypeContent {
  bool references = false;
  bool variable = false;  ///< strings or sequences that lie elsewhere
};
[[nodiscard]] TypeContent content_of(hid_t type, std::string_view name);

/// Finds an object's copy: the path of it, or an empty text if there is none.
using FindCopy = std::function<std::string(hid_t object)>;

/// Makes references into the source lead to the copies of what they lead to. One whose object has no copy, or is gone,
/// becomes a reference to nothing, and is counted.
class ReferenceMap {
 public:
  /// `source` is any object of the source's file.
  ReferenceMap(hid_t source, hid_t target_file, FindCopy find)
      : source_(source), target_(target_file), find_(std::move(find)) {}
  /// `count` elements of `type` at `elements`, as the library reads them.
  void translate(hid_t type, std::byte* elements, std::size_t count);
  [[nodiscard]] std::size_t lost() const noexcept { return lost_; }

 private:
  void translate_object(std::byte* reference);
  void translate_region(std::byte* reference);
  hid_t source_;
  hid_t target_;
  FindCopy find_;
  std::size_t lost_ = 0;
};

/// Copies an attribute's value; `target_type` is what it is stored as there. Throws FormatError.
void copy_attribute_value(hid_t source, hid_t target, const std::string& attribute, hid_t target_type,
                          ReferenceMap& references, std::string_view name);
/// Copies all elements of a dataset, piece by piece; both have one shape, and types that are alike.
void copy_dataset_values(hid_t source, hid_t target, ReferenceMap& references, const std::function<void()>& heartbeat,
                         std::string_view name);

}  // namespace runrig::hdf5::detail
