package data

// remoteFile is a file of a data set as its public home has it.
type remoteFile struct {
	name        string
	size        int64
	md5, sha256 string // hexadecimal; an empty one is not checked, one is always given
}

// remoteSet is a data set and its public home.
type remoteSet struct {
	name  string
	home  string // ends in a slash
	files []remoteFile
}

// remoteSets lists what [Download] knows.
//
// Sources of sizes and checksums, each stated there for exactly these addresses:
// MD5 of MNIST, Fashion-MNIST and SVHN: torchvision (datasets/mnist.py, svhn.py);
// MD5 of CIFAR: https://www.cs.toronto.edu/~kriz/cifar.html; size and SHA-256 of
// Fashion-MNIST, CIFAR and SVHN: TensorFlow Datasets (url_checksums/). The size of
// MNIST's files is from there too, but for another mirror of the same files, so
// their SHA-256 is left out.
func remoteSets() []remoteSet {
	return []remoteSet{
		{"mnist", "https://ossci-datasets.s3.amazonaws.com/mnist/", []remoteFile{
			{"train-images-idx3-ubyte.gz", 9912422, "f68b3c2dcbeaaa9fbdd348bbdeb94873", ""},
			{"train-labels-idx1-ubyte.gz", 28881, "d53e105ee54ea40749a09fcbcd1e9432", ""},
			{"t10k-images-idx3-ubyte.gz", 1648877, "9fb629c4189551a2d022fa330f9573f3", ""},
			{"t10k-labels-idx1-ubyte.gz", 4542, "ec29112dd5afa0611ce80d1b7f02629c", ""},
		}},
		{"fashion-mnist", "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", []remoteFile{
			{"train-images-idx3-ubyte.gz", 26421880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
				"3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"},
			{"train-labels-idx1-ubyte.gz", 29515, "25c81989df183df01b3e8a0aad5dffbe",
				"a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"},
			{"t10k-images-idx3-ubyte.gz", 4422102, "bef4ecab320f06d8554ea6380940ec79",
				"346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"},
			{"t10k-labels-idx1-ubyte.gz", 5148, "bb300cfdad3c16e7a12a480ee83cd310",
				"67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"},
		}},
		{"cifar10", "https://www.cs.toronto.edu/~kriz/", []remoteFile{
			{"cifar-10-binary.tar.gz", 170052171, "c32a1d4ab5d03f1284b67883e8d87530",
				"c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
		}},
		{"cifar100", "https://www.cs.toronto.edu/~kriz/", []remoteFile{
			{"cifar-100-binary.tar.gz", 168513733, "03b5dce01913d631647c71ecec9e9cb8",
				"58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"},
		}},
		{"svhn", "http://ufldl.stanford.edu/housenumbers/", []remoteFile{
			{"train_32x32.mat", 182040794, "e26dedcc434d2e4c54c9b2d4a06d8373",
				"435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"},
			{"test_32x32.mat", 64275384, "eb5a983be6a315427106f1b164d9cef3",
				"cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"},
			{"extra_32x32.mat", 1329278602, "a93ce644f1a588dc4d68dda5feec44a7",
				"a133a4beb38a00fcdda90c9489e0c04f900b660ce8a316a5e854838379a71eb3"},
		}},
	}
}

// Datasets names the data sets that [Download] knows.
func Datasets() []string {
	var names []string
	for _, s := range remoteSets() {
		names = append(names, s.name)
	}
	return names
}
