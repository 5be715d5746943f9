// A filter plugin as hdf5plugin's and Debian's are: linked with the shared HDF5 library, which is to be asked, with an
// identifier of the program's, how large an element is. It turns all bits over; a chunk whose parameters do not name
// the size that it was asked for is refused.
#include <H5PLextern.h>
#include <hdf5.h>

#include <array>
#include <cstddef>

namespace {

constexpr H5Z_filter_t number = 32'100;  // one of those for trials

extern "C" herr_t set_local(hid_t properties, hid_t type, hid_t /*space*/) {
  std::array<unsigned, 2> parameters{};
  std::size_t count = parameters.size();
  unsigned flags = 0;
  const bool asked =
      H5Pget_filter_by_id2(properties, number, &flags, &count, parameters.data(), 0, nullptr, nullptr) >= 0;
  const std::size_t size = H5Tget_size(type);
  if (!asked || size == 0) return -1;
  parameters = {0xff, static_cast<unsigned>(size)};
  return H5Pmodify_filter(properties, number, flags, parameters.size(), parameters.data());
}

extern "C" std::size_t turn_over(unsigned /*flags*/, std::size_t count, const unsigned* parameters, std::size_t bytes,
                                 std::size_t* /*capacity*/, void** buffer) {
  if (count != 2 || parameters[1] == 0 || bytes % parameters[1] != 0) return 0;
  auto* const data = static_cast<unsigned char*>(*buffer);
  for (std::size_t i = 0; i < bytes; ++i) data[i] = static_cast<unsigned char>(data[i] ^ parameters[0]);
  return bytes;
}

const H5Z_class2_t turning = {H5Z_CLASS_T_VERS, number, 1, 1, "turn over", nullptr, &set_local, &turn_over};

}  // namespace

extern "C" H5PL_type_t H5PLget_plugin_type() { return H5PL_TYPE_FILTER; }
extern "C" const void* H5PLget_plugin_info() { return &turning; }
