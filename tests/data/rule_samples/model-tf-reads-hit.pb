1
"serve*2.16.1

nodeTextLineDataset"Ú