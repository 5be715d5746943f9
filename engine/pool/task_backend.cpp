#include "runrig/engine/task_backend.hpp"

#include <algorithm>
#include <stdexcept>

#include "callbacks.hpp"
#include "runrig/engine/async_result.hpp"
#include "runrig/engine/tasks.hpp"

namespace runrig::detail {

void ResultState::add_callback(std::function<void()> call) {
  {
    const std::lock_guard guard(backend_->mutex());
    has_callbacks_ = true;
    if (expected_ || backend_->callbacks().expect(*backend_)) {
      callbacks_.push_back(std::move(call));
      // If it is expected and ready, they are due already, and this one is run with them.
      if (!std::exchange(expected_, true) && ready()) backend_->callbacks().add(*backend_, shared_from_this());
      return;
    }
  }
  call();
}

bool ResultState::has_callbacks() {
  const std::lock_guard guard(backend_->mutex());
  return has_callbacks_;
}

std::exception_ptr ResultState::run_callbacks() noexcept {
  std::vector<std::function<void()>> calls;
  {
    const std::lock_guard guard(backend_->mutex());
    calls.swap(callbacks_);
    expected_ = false;
  }
  std::exception_ptr first;
  for (const auto& call : calls) {
    try {
      call();
    } catch (...) {
      if (!first) first = std::current_exception();
    }
  }
  return first;
}

void ResultState::complete() noexcept {
  // Release: pairs with ready().
  ready_.store(true, std::memory_order_release);
  if (expected_) backend_->callbacks().add(*backend_, shared_from_this());
}

void throw_no_call(const char* what) {
  throw std::logic_error(std::string("result of a task: ") + what + ": it is of no call, or was moved from");
}

void throw_not_ready() {
  throw std::logic_error("result of a task: ask whether it was successful: it is not ready; wait for it first");
}

void throw_timeout() { throw TimeoutError("wait for the result of", "task"); }

void throw_moved_from_callback() {
  throw std::logic_error(
      "result of a task: get it out of its future: it has callbacks that may be looking at it, and it cannot be "
      "copied; "
      "keep the future and use get() on it");
}

std::size_t automatic_chunk(std::size_t items, int workers) noexcept {
  const std::size_t shares = static_cast<std::size_t>(workers) * 4;
  return items / shares + (items % shares == 0 ? 0 : 1);
}

std::size_t automatic_window(int workers) noexcept {
  return std::max<std::size_t>(static_cast<std::size_t>(workers) * 8, 64);
}

}  // namespace runrig::detail
