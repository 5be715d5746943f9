#include "runrig/sync/error.hpp"

namespace runrig {
namespace {

class Category final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "runrig"; }
  [[nodiscard]] std::string message(int value) const override {
    switch (static_cast<ErrorKind>(value)) {
      case ErrorKind::owner_died:
        return "its holder died; recover() takes it to repair the data";
      case ErrorKind::poisoned:
        return "the data it guards was lost with its holder";
      case ErrorKind::worker_lost:
        return "the worker process died";
      case ErrorKind::slice_lost:
        return "a slice was lost with its worker";
      case ErrorKind::remote_error:
        return "the other process threw";
      case ErrorKind::authentication:
        return "authentication failed";
      case ErrorKind::timeout:
        return "timed out";
      case ErrorKind::buffer_too_short:
        return "the buffer is too short";
      case ErrorKind::format:
        return "malformed data";
      case ErrorKind::cancelled:
        return "cancelled";
      case ErrorKind::broken_barrier:
        return "the barrier is broken";
      case ErrorKind::end_of_stream:
        return "the other end is closed";
      case ErrorKind::empty:
        return "no message came";
      case ErrorKind::full:
        return "no place became free";
    }
    return "unknown error";
  }
};

}  // namespace

std::string SliceLost::describe(const std::vector<Range>& ranges, std::string_view why) {
  constexpr std::size_t shown = 8;  // what() is one line; ranges() has them all
  std::string text = "elements";
  for (std::size_t i = 0; i < ranges.size() && i < shown; ++i) {
    text += (i == 0 ? " [" : ", [") + std::to_string(ranges[i].begin) + ", " + std::to_string(ranges[i].end) + ")";
  }
  if (ranges.size() > shown) text += " and " + std::to_string(ranges.size() - shown) + " more ranges";
  text += " may be half-written";
  if (!why.empty()) text.append(": ").append(why);
  return text;
}

const std::error_category& error_category() noexcept {
  static const Category category;
  return category;
}

}  // namespace runrig
