#include "runrig/sync/error.hpp"

namespace runrig {
namespace {

class Category final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "runrig"; }
  [[nodiscard]] std::string message(int value) const override {
    switch (static_cast<ErrorKind>(value)) {
      case ErrorKind::owner_died: return "its holder died; recover() takes it to repair the data";
      case ErrorKind::poisoned: return "the data it guards was lost with its holder";
      case ErrorKind::worker_lost: return "the worker process died";
      case ErrorKind::slice_lost: return "a slice was lost with its worker";
      case ErrorKind::remote_error: return "the other process threw";
      case ErrorKind::authentication: return "authentication failed";
      case ErrorKind::timeout: return "timed out";
      case ErrorKind::buffer_too_short: return "the buffer is too short";
      case ErrorKind::format: return "malformed data";
      case ErrorKind::cancelled: return "cancelled";
    }
    return "unknown error";
  }
};

}  // namespace

const std::error_category& error_category() noexcept {
  static const Category category;
  return category;
}

}  // namespace runrig
