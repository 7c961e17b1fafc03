// misfortunes
