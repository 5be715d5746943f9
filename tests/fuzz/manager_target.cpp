#include <span>
#include <vector>

#include "response.hpp"
#include "runrig/channel/pickle.hpp"
#include "runrig/engine/managed.hpp"
#include "runrig/sync/error.hpp"
#include "target.hpp"

// What a client with the key may send to a manager's objects, of each type that SyncManager has: pickles of requests,
// one behind the other, whose ident says which object. And what a server may answer to our client.
namespace runrig {
namespace {

using detail::Referent;
using pickle::Object;

/// One that waits for nothing.
class Caller final : public detail::ManagedCaller {
 public:
  explicit Caller(std::uint64_t number) : number_(number) {}
  [[nodiscard]] std::uint64_t connection() const noexcept override { return number_; }
  [[nodiscard]] std::uint64_t process() const noexcept override { return number_; }
  [[nodiscard]] bool gone() const noexcept override { return true; }
  Object serve(std::shared_ptr<Referent> made, std::string_view /*type_id*/,
               std::vector<std::string> /*exposed*/) override {
    served.push_back(std::move(made));
    return Object();
  }

  std::vector<std::shared_ptr<Referent>> served;

 private:
  std::uint64_t number_;
};

constexpr const char* type_ids[] = {
    "list",  "dict",      "Namespace",        "Value",     "Array", "Queue",  "JoinableQueue", "Lock",
    "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event", "Barrier"};

std::shared_ptr<Referent> made(const ManagedTypes& types, std::string_view type_id) {
  std::vector<Object> args;
  if (type_id == "Value") args = {"i", 5};
  if (type_id == "Array") args = {"i", Object::list({1, 2, 3})};
  if (type_id == "Barrier") args = {2};
  return types.find(type_id)->make(types, args, Object::dict());
}

void request(const ManagedTypes& types, std::vector<std::shared_ptr<Referent>>& objects, const Object& message,
             Caller& caller) {
  const detail::ManagerRequest request = detail::read_request(message);
  if (request.ident.kind() == pickle::Kind::string) {  // a new object, from arguments of theirs
    const detail::ManagedType* const type = types.find(request.ident.as_string());
    if (type != nullptr) objects.push_back(type->make(types, request.args, request.kwargs));
    return;
  }
  Referent& referent = *objects[static_cast<std::size_t>(request.ident.as_uint() % objects.size())];
  const Object answer = referent.call({request.method, request.args, request.kwargs, caller});
  (void)pickle::dumps(detail::return_message(answer));
  for (auto& each : caller.served) objects.push_back(std::move(each));
  caller.served.clear();
}

void run(std::span<const std::byte> bytes) {
  const pickle::Limits limits{.max_bytes = 1 << 16, .max_memory = 16 << 20};
  static const ManagedTypes types = ManagedTypes::standard();
  std::vector<std::shared_ptr<Referent>> objects;
  for (const char* each : type_ids) objects.push_back(made(types, each));
  Caller callers[] = {Caller(1), Caller(2)};
  std::vector<Object> messages;
  try {
    const Object all = pickle::loads(bytes, limits);
    if (all.kind() == pickle::Kind::list) messages.assign(all.items().begin(), all.items().end());
    (void)detail::proxy_of_response(all);
    (void)detail::value_of_response(all);
  } catch (const std::exception&) {
  }
  std::size_t turn = 0;
  for (const Object& each : messages) {
    try {
      request(types, objects, each, callers[turn++ % 2]);
    } catch (const std::exception&) {  // what the caller is told
      (void)pickle::dumps(detail::error_message(std::current_exception()));
    }
  }
  for (const auto& each : objects) {
    fuzz::require(!each->text().empty(), "every object has a text");
    each->forget_connection(1);
    each->forget_process(1);
  }
}

}  // namespace
}  // namespace runrig

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  runrig::run(runrig::fuzz::bytes_of(data, size));
  return 0;
}
