"The checks of the exercises: a file for each lesson, and the kit that they are made with"
