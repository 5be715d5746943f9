#include "callbacks.hpp"

#include <csignal>

#include <memory>

#include "../process/child.hpp"
#include "../process/own_threads.hpp"

namespace runrig::detail {

bool Callbacks::expect(TaskBackend& backend) {
  if (stopping_) return false;
  if (thread_ == nullptr) {
    // Signals are for the program's own threads to handle; a new thread inherits the mask.
    const SignalsBlocked blocked;
    thread_ = new std::thread([this, &backend, keep = backend.keep_alive()] { run(backend); });
  }
  ++outstanding_;
  backend.notify();  // it may sleep without a limit, as there was nothing to expect
  return true;
}

void Callbacks::add(TaskBackend& backend, std::shared_ptr<ResultState> state) noexcept {
  due_.push_back(std::move(state));
  backend.notify();
}

void Callbacks::run(TaskBackend& backend) {
  const OwnThread own;
  set_process_name("runrig-callback");
  const Work work(*this);
  for (;;) {
    (void)backend.wait(work, Deadline());
    std::unique_lock lock(backend.mutex());
    if (due_.empty()) {
      if (stopping_) return;
      continue;
    }
    std::shared_ptr<ResultState> state = std::move(due_.front());
    due_.pop_front();
    lock.unlock();
    std::exception_ptr error = state->run_callbacks();
    state.reset();
    lock.lock();
    --outstanding_;
    if (error && !error_) error_ = std::move(error);
    lock.unlock();
    backend.notify();
  }
}

void Callbacks::stop(TaskBackend& backend) noexcept {
  std::unique_ptr<std::thread> ending;
  {
    const std::lock_guard guard(backend.mutex());
    stopping_ = true;
    ending.reset(std::exchange(thread_, nullptr));
  }
  if (!ending) return;
  backend.notify();
  if (ending->get_id() == std::this_thread::get_id()) {
    ending->detach();  // a callback ends the pool; the thread holds on to what it still needs
  } else {
    ending->join();
  }
}

}  // namespace runrig::detail
