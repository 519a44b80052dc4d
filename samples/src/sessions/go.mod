module sessions

go 1.21
