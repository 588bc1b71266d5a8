# Stands in for the CMake configuration of 3D Slicer, for a scripted extension: the same names, checks and places of
# installation as Slicer's own, without its build step. It compiles and packages nothing.
#
#   cmake -S . -B build -DSlicer_DIR=Testing/packaging/stand_in && cmake --install build --prefix somewhere

set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/SlicerExtensionGenerateConfig.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/SlicerExtensionCPack.cmake")

set(Slicer_VERSION 5.11.0)
set(Slicer_MAIN_PROJECT_VERSION_FULL 5.11.0)
set(Slicer_USE_PYTHONQT ON)
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR "lib/Slicer-5.11/qt-scripted-modules")
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR ${Slicer_QTSCRIPTEDMODULES_LIB_DIR})
