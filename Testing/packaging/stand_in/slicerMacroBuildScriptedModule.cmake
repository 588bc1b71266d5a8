function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(NOT "${MY_UNPARSED_ARGUMENTS}" STREQUAL "")
    message(FATAL_ERROR "slicerMacroBuildScriptedModule: unknown keywords ${MY_UNPARSED_ARGUMENTS}")
  endif()
  if("${MY_NAME}" STREQUAL "")
    message(FATAL_ERROR "slicerMacroBuildScriptedModule: NAME is mandatory")
  endif()
  foreach(kind IN ITEMS SCRIPTS RESOURCES)
    foreach(file IN LISTS MY_${kind})
      if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
        message(FATAL_ERROR "slicerMacroBuildScriptedModule(${kind}) given nonexistent file or directory '${file}'")
      endif()
    endforeach()
  endforeach()
  ctkMacroCompilePythonScript(
    TARGET_NAME ${MY_NAME}
    SCRIPTS ${MY_SCRIPTS}
    RESOURCES ${MY_RESOURCES}
    DESTINATION_DIR ${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}
    INSTALL_DIR ${Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR}
    NO_INSTALL_SUBDIR
    )
endfunction()

# Slicer runs the unittest classes of SCRIPT in a ctest of its own; here the ctest only exists.
function(slicer_add_python_unittest)
  cmake_parse_arguments(MY "" "SCRIPT;TESTNAME_PREFIX" "SLICER_ARGS" ${ARGN})
  if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${MY_SCRIPT}")
    message(FATAL_ERROR "slicer_add_python_unittest: no file ${CMAKE_CURRENT_SOURCE_DIR}/${MY_SCRIPT}")
  endif()
  get_filename_component(name ${MY_SCRIPT} NAME_WE)
  add_test(NAME ${MY_TESTNAME_PREFIX}py_${name} COMMAND ${CMAKE_COMMAND} -E true)
endfunction()
