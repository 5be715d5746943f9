#pragma once

#include <utility>

namespace runrig {

/// Owns one file descriptor, and closes it. Move-only.
///
/// A failing close is not reported: where that matters (a written file) the owner calls fsync first. A child made
/// by fork owns its copy as well; what must not be shared with children is opened again there.
class UniqueFd {
 public:
  UniqueFd() noexcept = default;
  /// Takes ownership of `fd`; a negative number is "none".
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
  /// Gives ownership away.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  /// Closes what is owned, if anything, and owns `fd` from now on. errno is kept.
  void reset(int fd = -1) noexcept;

 private:
  int fd_ = -1;
};

}  // namespace runrig
